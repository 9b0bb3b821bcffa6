"""Running a compiled backbone: pixels in, one vector a picture out; LiteRT, or TensorFlow where it is asked for."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from conf.errors import BackboneError, first_line
from streaming.backbones.backbone import Backbone

RuntimeKind = str  # litert or tensorflow, as `conf.settings` checks


class Infers(Protocol):
    """A compiled backbone, loaded; not for use by several threads at a time.

    Attributes
    ----------
    batch : int
        How many pictures it takes best at a time.
    """

    batch: int

    def vectors(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Give the vector, of shape (width,), of each prepared picture, uint8 of shape (size, size, 3)."""


class Runtime:
    """A compiled backbone in LiteRT, on one thread, one picture at a time.

    Parameters
    ----------
    model : Path
        The ``.tflite`` file; it is mapped, not read, so the tasks of one machine share its pages.
    backbone : Backbone
        What the model has to be a compilation of.
    width : int
        Length of its vectors.

    Raises
    ------
    BackboneError
        The file is no model, or its input or output is not the backbone's.
    """

    batch = 1

    def __init__(self, model: Path, backbone: Backbone, width: int) -> None:
        self._interpreter = _open(model)
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        found = (signature(inputs), signature(outputs))
        size = backbone.preparation.size
        takes, gives = [f"uint8[1, {size}, {size}, 3]"], [f"float32[1, {width}]"]
        if backbone.kind == "tflite":
            takes.append(f"float32[1, {size}, {size}, 3]")
            gives.append(f"float32[1, 1, 1, {width}]")
        if found[0] not in takes or found[1] not in gives:
            raise BackboneError(
                f"Model {model}: it maps {found[0]} to {found[1]}, and {backbone.featurizer} maps {takes[0]} to "
                f"{gives[0]}; delete it and start again."
            )
        self._input, self._output, self._dtype = inputs[0]["index"], outputs[0]["index"], inputs[0]["dtype"]

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give the vector of one prepared picture.

        Parameters
        ----------
        pixels : ndarray of shape (size, size, 3), uint8

        Returns
        -------
        ndarray of shape (width,), float32
            A copy; the next call leaves it alone.
        """
        self._interpreter.set_tensor(self._input, pixels[np.newaxis].astype(self._dtype, copy=False))
        self._interpreter.invoke()
        vector: NDArray[np.float32] = self._interpreter.get_tensor(self._output).reshape(-1)
        return vector

    def vectors(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Give the vector of each prepared picture, one after the other."""
        return [self(pixels) for pixels in pictures]


@cache
def runtime_for(model: Path, backbone: Backbone, width: int, kind: RuntimeKind = "litert") -> Infers:
    """Load a model once per process; Spark keeps its Python workers, so later tasks find it loaded.

    Raises
    ------
    BackboneError
        The file is not the backbone's model, or TensorFlow is asked for and not installed.
    """
    if kind == "tensorflow":
        from streaming.backbones.tensorflow_runtime import (
            TensorFlowRuntime,  # here, so that no other worker ever holds it
        )

        return TensorFlowRuntime(model, backbone, width)
    return Runtime(model, backbone, width)


def _open(model: Path) -> Any:
    try:
        interpreter = Interpreter(model_path=str(model), num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        fault = first_line(error)
        raise BackboneError(f"Model {model}: LiteRT cannot load it ({fault}); delete it and start again.") from error
    return interpreter


def signature(details: list[dict[str, Any]]) -> str:
    """Spell the inputs or the outputs of a model, as in ``uint8[1, 224, 224, 3]``; ``?`` is a side left open."""
    return ", ".join(f"{np.dtype(tensor['dtype']).name}[{_shape(tensor)}]" for tensor in details)


def _shape(tensor: dict[str, Any]) -> str:
    """Spell a shape; an open side stands at 1 until it is set. An open batch is as good as one of 1."""
    sides = zip(tensor["shape"].tolist(), tensor["shape_signature"].tolist(), strict=True)
    return ", ".join(
        "?" if place and (side, declared) == (1, -1) else str(side) for place, (side, declared) in enumerate(sides)
    )
