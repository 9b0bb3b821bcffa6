import hashlib
from pathlib import Path

import numpy as np
import pytest

from conf.errors import BackboneError
from streaming.backbones.compile import compile_backbone
from streaming.backbones.probes import probe_pictures, worst_error
from streaming.backbones.request import parse_backbone
from streaming.backbones.runtime import Runtime, runtime_for
from streaming.backbones.shelf import Compiled, model_path, save

RANDOM_1 = hashlib.sha256(b"random:1").hexdigest()


@pytest.fixture(scope="module")
def runtime(random_model: Path, random_mobilenet: Compiled) -> Runtime:
    return Runtime(random_model, random_mobilenet.backbone, random_mobilenet.manifest.width)


def test_a_picture_becomes_one_vector_of_the_backbones_width(runtime: Runtime) -> None:
    """Pixels of the declared size give float32 of the compiled width, the same every time."""
    pixels = probe_pictures(32)[0]
    vector = runtime(pixels)
    assert vector.shape == (1280,)
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(runtime(pixels), vector)


def test_a_vector_outlives_the_next_call(runtime: Runtime) -> None:
    """The vector is a copy: a worker may keep it while it runs the next picture."""
    first, second = probe_pictures(32)[:2]
    vector = runtime(first)
    kept = vector.copy()
    assert not np.array_equal(runtime(second), kept)
    np.testing.assert_array_equal(vector, kept)


def test_several_pictures_become_as_many_vectors_in_their_order(runtime: Runtime) -> None:
    """LiteRT takes them one by one; no pictures are no vectors."""
    pictures = list(probe_pictures(32)[:3])
    np.testing.assert_array_equal(runtime.vectors(pictures), [runtime(each) for each in pictures])
    assert (runtime.batch, runtime.vectors([])) == (1, [])


@pytest.mark.parametrize(("size", "width"), [(64, 1280), (32, 1281)])
def test_a_model_of_another_backbone_is_refused(size: int, width: int, random_model: Path) -> None:
    """A model whose input or output is not the declared one never gives a vector."""
    other = parse_backbone(f"mobilenet-v2-0.35@{size}", "random:1").with_weights("0" * 64)
    says = rf"uint8\[1, 32, 32, 3\] to float32\[1, 1280\].*uint8\[1, {size}, {size}, 3\] to float32\[1, {width}\]"
    with pytest.raises(BackboneError, match=says):
        Runtime(random_model, other, width)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, random_mobilenet: Compiled) -> None:
    """The message names the file and the mend."""
    path = tmp_path / "noise.tflite"
    path.write_bytes(b"no model at all")
    with pytest.raises(BackboneError, match=r"noise\.tflite.*delete it and start again"):
        Runtime(path, random_mobilenet.backbone, 1280)


def test_a_process_loads_a_model_once(random_model: Path, random_mobilenet: Compiled) -> None:
    """A reused worker finds the model of its earlier task."""
    first, second = (runtime_for(random_model, random_mobilenet.backbone, 1280, "litert") for _ in range(2))
    assert first is second


@pytest.fixture(scope="module")
def both() -> Compiled:
    """Compile a backbone for both runtimes."""
    return compile_backbone(parse_backbone("mobilenet-v3-small@32", "random:1", "flatten"), "tensorflow")


@pytest.mark.long
class TestTensorFlow:
    """TensorFlow runs the same backbone in batches, where it is asked for."""

    def test_both_runtimes_give_the_same_vectors(self, both: Compiled, tmp_path: Path) -> None:
        """One featurizer whatever runs it: more pictures than a batch holds, and fewer."""
        save(both, tmp_path)
        one, other = (
            runtime_for(model_path(tmp_path, both.backbone.featurizer, kind), both.backbone, 576, kind)
            for kind in ("litert", "tensorflow")
        )
        pictures = [*probe_pictures(32), *probe_pictures(32), *probe_pictures(32)[:3]]
        assert len(pictures) > other.batch > 1
        vectors = other.vectors(pictures)
        assert worst_error(np.stack(vectors), np.stack(one.vectors(pictures))) < 1e-4
        assert other.vectors([]) == []
        assert set(both.manifest.task_bytes) == {"litert", "tensorflow"}

    def test_a_model_of_another_backbone_is_refused(self, both: Compiled, tmp_path: Path) -> None:
        """As in LiteRT."""
        save(both, tmp_path)
        model = model_path(tmp_path, both.backbone.featurizer, "tensorflow")
        with pytest.raises(BackboneError, match=r"maps \(None, 32, 32, 3\) to \(None, 576\).*\(None, 7\)"):
            runtime_for(model, both.backbone, 7, "tensorflow")

    def test_a_file_that_is_no_model_is_refused(self, both: Compiled, tmp_path: Path) -> None:
        """The message names the file and the mend."""
        path = tmp_path / "noise.keras"
        path.write_bytes(b"no model at all")
        with pytest.raises(BackboneError, match=r"noise\.keras: Keras cannot load it.*delete it and start again"):
            runtime_for(path, both.backbone, 576, "tensorflow")
