"""Running a compiled backbone with TensorFlow: batches of pictures, on a GPU where there is one."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conf.errors import BackboneError, UsageError, first_line
from streaming.backbones.backbone import Backbone
from streaming.backbones.child import load_tensorflow
from streaming.backbones.keras_files import open_keras

CPU_BATCH, GPU_BATCH = 8, 128  # on a CPU larger batches are no faster, and VGG16 takes 0.8 GB more at 32


class TensorFlowRuntime:
    """A compiled backbone in TensorFlow; see `streaming.backbones.runtime.Infers`.

    Parameters
    ----------
    model : Path
        The ``.keras`` file that the compilation stored: uint8 pixels in, vectors out.
    backbone : Backbone
        What the model has to be a compilation of.
    width : int
        Length of its vectors.

    Raises
    ------
    BackboneError
        TensorFlow is not installed, the file is no model, or its input or output is not the backbone's.
    """

    def __init__(self, model: Path, backbone: Backbone, width: int) -> None:
        tensorflow = load_tensorflow()
        self.batch = GPU_BATCH if _configure() else CPU_BATCH
        network, size = _open(model), backbone.preparation.size
        found, expected = (network.input_shape, network.output_shape), ((None, size, size, 3), (None, width))
        if found != expected:
            raise BackboneError(
                f"Model {model}: it maps {found[0]} to {found[1]}, and {backbone.featurizer} maps {expected[0]} to "
                f"{expected[1]}; delete it and start again."
            )
        pixels = tensorflow.TensorSpec(expected[0], tensorflow.uint8)
        self._run = tensorflow.function(lambda batch: network(batch, training=False), input_signature=[pixels])

    def vectors(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Give the vector of each prepared picture, `batch` of them at a time."""
        chunks = [pictures[start : start + self.batch] for start in range(0, len(pictures), self.batch)]
        return [vector for chunk in chunks for vector in self._run(np.stack(chunk)).numpy()]


@cache
def _configure() -> bool:
    """Set TensorFlow up for this process, before it first computes; return whether there is a GPU.

    TF32 keeps ten bits of a product's factors, which is further from float32 than the tolerance of the compilation.
    Spark gives each core a task, so on CPUs a task keeps to one thread.
    """
    tensorflow = load_tensorflow()
    tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tensorflow.config.list_physical_devices("GPU")
    try:
        for gpu in gpus:
            tensorflow.config.experimental.set_memory_growth(gpu, True)
        if not gpus:
            tensorflow.config.threading.set_intra_op_parallelism_threads(1)
            tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # it has computed before, as in a test: then it stays as it is
        pass
    return bool(gpus)


def _open(model: Path) -> Any:
    try:
        return open_keras(model)[0]
    except UsageError as error:
        fault = first_line(error).removeprefix(f"--backbone {model}: ").rstrip(".")
        raise BackboneError(f"Model {model}: Keras cannot load it ({fault}); delete it and start again.") from error
