from pathlib import Path

import numpy as np
import pytest

from conf.errors import BackboneError
from streaming.backbones import parse_backbone
from streaming.compile import probe_pictures
from streaming.runtime import Runtime, runtime_for
from streaming.shelf import Compiled


def test_a_picture_becomes_one_vector_of_the_backbones_width(random_model: Path, random_mobilenet: Compiled) -> None:
    """Pixels of the declared size give float32 of the declared width, the same every time."""
    runtime = Runtime(random_model, random_mobilenet.backbone)
    pixels = probe_pictures(32)[0]
    vector = runtime(pixels)
    assert vector.shape == (random_mobilenet.backbone.width,)
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(runtime(pixels), vector)


def test_a_vector_outlives_the_next_call(random_model: Path, random_mobilenet: Compiled) -> None:
    """The vector is a copy: a worker may keep it while it runs the next picture."""
    runtime = Runtime(random_model, random_mobilenet.backbone)
    first, second = probe_pictures(32)[:2]
    vector = runtime(first)
    kept = vector.copy()
    assert not np.array_equal(runtime(second), kept)
    np.testing.assert_array_equal(vector, kept)


@pytest.mark.parametrize(("size", "pooling"), [(64, "avg"), (64, "flatten")])
def test_a_model_of_another_backbone_is_refused(size: int, pooling: str, random_model: Path) -> None:
    """A model whose input or output is not the declared one never gives a vector."""
    other = parse_backbone(f"mobilenet-v2-0.35@{size}", "random:1", pooling).with_weights("0" * 64)
    with pytest.raises(BackboneError, match=r"uint8\[1, 32, 32, 3\].*uint8\[1, 64, 64, 3\]"):
        Runtime(random_model, other)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, random_mobilenet: Compiled) -> None:
    """The message names the file and the mend."""
    path = tmp_path / "noise.tflite"
    path.write_bytes(b"no model at all")
    with pytest.raises(BackboneError, match=r"noise\.tflite.*delete it and start again"):
        Runtime(path, random_mobilenet.backbone)


def test_a_process_loads_a_model_once(random_model: Path, random_mobilenet: Compiled) -> None:
    """A reused worker finds the model of its earlier task."""
    assert runtime_for(random_model, random_mobilenet.backbone) is runtime_for(random_model, random_mobilenet.backbone)
