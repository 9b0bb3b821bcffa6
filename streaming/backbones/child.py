"""A process of one call: fresh, silent, without a GPU, and gone afterwards.

The driver runs for months and never holds TensorFlow; what must use it runs here. So does what a damaged model file
could take down.
"""

import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from conf.errors import BackboneError, VergerError, first_line

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


def in_child(function: Callable[[_Argument], _Result], argument: _Argument) -> _Result:
    """Call a function of a module in a fresh process and return its result.

    Raises
    ------
    VergerError
        What the function raised.
    BackboneError
        It raised something else, or the process died; with the last line that it wrote.
    """
    with (
        tempfile.NamedTemporaryFile("r", prefix="verger-compile-", errors="replace") as log,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _quiet, (log.name,)) as child,
    ):
        try:
            return child.submit(function, argument).result()
        except VergerError:
            raise
        except Exception as error:  # TensorFlow's own errors, and a child that died
            last = log.read().strip().splitlines()[-1:]
            raise BackboneError(f"Compiling failed: {' '.join([first_line(error), *last])}") from error


def _quiet(log: str) -> None:
    """Send what the child and its C++ libraries print to a file, and leave the GPU to others."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    warnings.simplefilter("ignore")


def load_tensorflow() -> Any:
    """Import TensorFlow, with Keras on top of it, whatever the user's keras.json says of layouts and types.

    Raises
    ------
    BackboneError
        It is not installed.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter reads no other
    try:
        import keras
        import tensorflow
    except ImportError as error:
        raise BackboneError(
            "TensorFlow is not installed: pip install 'verger[compile]', or bring the lake a backbone "
            "compiled elsewhere (`verger backbone compile`)"
        ) from error
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    return tensorflow
