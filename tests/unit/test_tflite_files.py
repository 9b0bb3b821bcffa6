"""Models of one's own as `.tflite` files, as other tools than Keras make them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf.errors import BackboneError, UsageError
from streaming.backbones import tflite_files
from streaming.backbones.probes import probe_pictures
from streaming.backbones.request import parse_backbone
from streaming.backbones.runtime import Runtime
from streaming.backbones.shelf import save
from streaming.backbones.tflite_files import adopt
from tests.places import local

SIDE = 24


def pixels(dtype: str = "float32", batch: int | None = 1, shape: tuple[int | None, ...] = (SIDE, SIDE, 3)) -> Any:
    import keras

    return keras.Input(shape, batch_size=batch, dtype=dtype)


def averaged(seen: Any, keepdims: bool = False) -> Any:
    """Give the means of a small convolution, with weights that are the same every time."""
    import keras

    draw = keras.initializers.GlorotUniform(seed=1)
    seen = keras.ops.cast(seen, "float32") / 255.0
    x = keras.layers.Conv2D(5, 3, strides=2, activation="relu", kernel_initializer=draw)(seen)
    return keras.layers.GlobalAveragePooling2D(keepdims=keepdims)(x)


def converted(folder: Path, inputs: Any, outputs: Any, *operations: str) -> Path:
    """Convert as a person would who makes a model of their own, and give the file."""
    import keras
    import tensorflow

    converter = tensorflow.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, outputs))
    if operations:
        converter.target_spec.supported_ops = [tensorflow.lite.OpsSet[each] for each in operations]
    path = folder / "Mine.tflite"
    path.write_bytes(converter.convert())
    return path


class TestTaken:
    """A model with the right input and output is taken as it is."""

    @pytest.mark.parametrize(
        ("dtype", "batch", "keepdims"),
        [("float32", 1, False), ("uint8", 1, False), ("float32", None, False), ("uint8", None, True)],
        ids=["float32", "uint8", "open batch", "three more dimensions"],
    )
    def test_it_sees_pixels_from_0_to_255(self, dtype: str, batch: int | None, keepdims: bool, tmp_path: Path) -> None:
        """Its vectors are those that Keras gives for the same pixels, and it needs no conversion."""
        import keras

        inputs = pixels(dtype, batch)
        outputs = averaged(inputs, keepdims)
        path = converted(tmp_path, inputs, outputs)
        compiled = adopt(parse_backbone(f"{path},fit=crop"))
        model = local(save(compiled, tmp_path / "lake"))
        runtime = Runtime(model, compiled.backbone, compiled.manifest.width)
        network, probes = keras.Model(inputs, outputs), probe_pictures(SIDE)
        expected = [np.asarray(network(probe[None].astype(dtype))).reshape(-1) for probe in probes]
        np.testing.assert_allclose(runtime.vectors(list(probes)), expected, rtol=1e-5, atol=1e-6)
        assert model.read_bytes() == path.read_bytes()
        assert compiled.backbone.featurizer.startswith(f"mine-{SIDE}-crop-")
        assert (compiled.manifest.width, compiled.manifest.probe_error) == (5, 0.0)
        assert compiled.manifest.task_bytes["litert"] > 0


class TestRefused:
    """Any other model is refused in one line that says what it has and what is needed."""

    @pytest.mark.parametrize(
        ("inputs", "outputs", "says"),
        [
            (lambda: pixels(shape=(SIDE, 32, 3)), averaged, r"it maps float32\[1, 24, 32, 3\] to float32\[1, 5\]"),
            (lambda: pixels(shape=(SIDE, SIDE, 1)), averaged, r"it maps float32\[1, 24, 24, 1\]"),
            (lambda: pixels("int32"), averaged, r"it maps int32\[1, 24, 24, 3\]"),
            (lambda: pixels(batch=2), averaged, r"it maps float32\[2, 24, 24, 3\] to float32\[2, 5\]"),
            (lambda: pixels(shape=(None, None, 3)), averaged, r"it maps float32\[1, \?, \?, 3\]"),
            (pixels, lambda seen: seen * 2.0, r"to float32\[1, 24, 24, 3\]; a backbone maps"),
            (pixels, lambda seen: [averaged(seen), averaged(seen) * 2.0], r"float32\[1, 5\], float32\[1, 5\]"),
        ],
        ids=["oblong", "grey", "int32", "batch", "open", "map", "two outputs"],
    )
    def test_the_signature_is_checked(self, inputs: Any, outputs: Any, says: str, tmp_path: Path) -> None:
        """One square picture in, one vector of floats out."""
        takes = inputs()
        path = converted(tmp_path, takes, outputs(takes))
        with pytest.raises(UsageError, match=rf"--backbone .*Mine\.tflite: .*{says}"):
            adopt(parse_backbone(str(path)))

    def test_another_size_than_its_own_is_refused(self, tmp_path: Path) -> None:
        """A compiled model has the size that it has."""
        inputs = pixels()
        path = converted(tmp_path, inputs, averaged(inputs))
        with pytest.raises(UsageError, match="its input is 24 pixels wide; leave @32 out"):
            adopt(parse_backbone(f"{path}@32"))

    def test_a_pooling_has_nothing_to_do(self, tmp_path: Path) -> None:
        """And is not passed over in silence."""
        inputs = pixels()
        path = converted(tmp_path, inputs, averaged(inputs))
        with pytest.raises(UsageError, match=r"--pooling max: Mine\.tflite gives a vector already"):
            adopt(parse_backbone(str(path), pooling="max"))

    def test_operations_that_only_tensorflow_has_are_refused(self, tmp_path: Path) -> None:
        """LiteRT says which one it lacks."""
        import keras

        inputs = pixels()
        matrix = averaged(inputs)[:, None, :] + keras.ops.eye(5)
        exotic = keras.ops.sum(keras.ops.inv(matrix), axis=1)
        path = converted(tmp_path, inputs, exotic, "TFLITE_BUILTINS", "SELECT_TF_OPS")
        with pytest.raises(UsageError, match=r"LiteRT cannot run it \(Select TensorFlow op.*built-in operations"):
            adopt(parse_backbone(str(path)))

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda vector: vector * 0.0, "zero or not finite"),
            (lambda vector: (vector - 1e6) ** 0.5, "zero or not finite"),
            (lambda vector: vector * 0.0 + 1.0, "one vector to different pictures"),
        ],
        ids=["zero", "infinite", "one"],
    )
    def test_vectors_of_no_use_are_refused(self, change: Any, says: str, tmp_path: Path) -> None:
        """The probe pictures show it."""
        inputs = pixels()
        path = converted(tmp_path, inputs, change(averaged(inputs)))
        with pytest.raises(BackboneError, match=says):
            adopt(parse_backbone(str(path)))

    @pytest.mark.parametrize("content", [b"", b"no model at all", b"\x1c\0\0\0TFL3" + b"\xff" * 200])
    def test_a_file_that_is_no_model_is_one_line(self, content: bytes, tmp_path: Path) -> None:
        """Whatever the bytes."""
        path = tmp_path / "Mine.tflite"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"Mine\.tflite: LiteRT cannot run it"):
            adopt(parse_backbone(str(path)))

    def test_a_file_that_takes_litert_down_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It takes a process of its own down, and not the driver."""

        def dies(*_: object) -> None:
            raise BackboneError("a process was terminated abruptly")

        monkeypatch.setattr(tflite_files, "in_child", dies)
        path = tmp_path / "Mine.tflite"
        path.touch()
        with pytest.raises(UsageError, match=r"Mine\.tflite: LiteRT cannot run it \(a process was terminated"):
            adopt(parse_backbone(str(path)))

    def test_a_missing_file_is_named(self) -> None:
        """Like a missing weights file."""
        with pytest.raises(UsageError, match=r"--backbone /no/such\.tflite: there is no such file"):
            adopt(parse_backbone("/no/such.tflite"))
