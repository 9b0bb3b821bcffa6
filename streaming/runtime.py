"""Running a compiled backbone with LiteRT: pixels in, one vector out, one thread."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from conf.errors import BackboneError
from streaming.backbones import Backbone


class Runtime:
    """A compiled backbone, loaded; not for use by several threads at a time.

    Parameters
    ----------
    model : Path
        The ``.tflite`` file; it is mapped, not read, so the tasks of one machine share its pages.
    backbone : Backbone
        What the model has to be a compilation of.

    Raises
    ------
    BackboneError
        The file is no model, or its input or output is not the backbone's.
    """

    def __init__(self, model: Path, backbone: Backbone) -> None:
        self._interpreter = _open(model)
        size, width = backbone.preparation.size, backbone.width
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        found = (_signature(inputs), _signature(outputs))
        expected = (f"uint8[1, {size}, {size}, 3]", f"float32[1, {width}]")
        if found != expected:
            raise BackboneError(
                f"Model {model}: it maps {found[0]} to {found[1]}, and {backbone.featurizer} maps {expected[0]} to "
                f"{expected[1]}; delete it and start again."
            )
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]

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
        self._interpreter.set_tensor(self._input, pixels[np.newaxis])
        self._interpreter.invoke()
        vector: NDArray[np.float32] = self._interpreter.get_tensor(self._output)[0]
        return vector


@cache
def runtime_for(model: Path, backbone: Backbone) -> Runtime:
    """Load a model once per process; Spark keeps its Python workers, so later tasks find it loaded."""
    return Runtime(model, backbone)


def _open(model: Path) -> Any:
    try:
        interpreter = Interpreter(model_path=str(model), num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BackboneError(f"Model {model}: LiteRT cannot load it ({error}); delete it and start again.") from error
    return interpreter


def _signature(details: list[dict[str, Any]]) -> str:
    return ", ".join(f"{np.dtype(tensor['dtype']).name}{tensor['shape'].tolist()}" for tensor in details)
