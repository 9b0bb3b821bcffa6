"""Building a network known by name in Keras, with the weights of a file.

TensorFlow is imported inside functions only.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from conf.errors import BackboneError, first_line
from streaming.backbones import efficientnet_lite0, hdf5_files
from streaming.backbones.architectures import ARCHITECTURES, Architecture
from streaming.backbones.backbone import Backbone, Pooling
from streaming.backbones.child import load_tensorflow
from streaming.backbones.request import BackboneRequest

if TYPE_CHECKING:
    import keras


def untrained(backbone: Backbone) -> "keras.Model":
    """Build the network with Keras' initial values.

    Returns
    -------
    keras.Model
        (n, size, size, 3) float32, scaled pixels -> the last feature map or, where Keras pools, the vector.
    """
    if not ARCHITECTURES[backbone.architecture].class_name:
        return efficientnet_lite0.build(backbone.preparation.size)
    return _application(ARCHITECTURES[backbone.architecture], backbone.preparation.size, backbone.pooling, None)


def trained(backbone: Backbone, path: Path) -> "keras.Model":
    """Build the network with the weights of a file; see `untrained`.

    Raises
    ------
    BackboneError
        The file does not hold this network's weights, or not them alone.
    """
    architecture = ARCHITECTURES[backbone.architecture]
    try:
        if not architecture.class_name:
            return efficientnet_lite0.build(backbone.preparation.size, efficientnet_lite0.read_pth(path))
        foreign = hdf5_files.fault(path, path.stat().st_size)
        if foreign:
            raise BackboneError(f"--weights {path}: the file holds {foreign}.")
        if architecture.class_name.startswith("EfficientNetB") and _is_published(architecture, path):
            with _get_file(lambda *_, **__: str(path)):
                return _application(architecture, backbone.preparation.size, backbone.pooling, "imagenet")
        return _loaded(untrained(backbone), path)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:  # h5py and Keras each raise several
        fault = f"the file does not fit {backbone.architecture} ({first_line(error)})"
        raise BackboneError(f"--weights {path}: {fault}.") from error


def published(request: BackboneRequest) -> Path:
    """Let Keras find its own ImageNet weights in its cache, or fetch them into it.

    Raises
    ------
    BackboneError
        They can be had from neither.
    """
    load_tensorflow()
    from keras.src.utils import file_utils

    fetch, found = file_utils.get_file, []

    def get_file(*arguments: Any, **options: Any) -> str:
        found.append(fetch(*arguments, **options))
        raise _Found

    try:
        with _get_file(get_file):
            _application(request.architecture, request.preparation.size, "avg", "imagenet")
    except _Found:
        return Path(found[0])
    except Exception as error:  # Keras raises plain Exception
        raise BackboneError(
            f"the imagenet weights could not be downloaded ({first_line(error)}): name a file with --weights PATH"
        ) from error
    raise BackboneError("this version of keras does not say where its imagenet weights are: name a file with --weights")


class _Found(Exception):
    """Keras has its file; building further is not needed."""


@contextmanager
def _get_file(stand_in: Callable[..., str]) -> Iterator[None]:
    """Put a function in the place through which keras.applications asks for its files."""
    from keras.src.utils import file_utils

    usual = file_utils.get_file
    file_utils.get_file = stand_in
    try:
        yield
    finally:
        file_utils.get_file = usual


def _application(architecture: Architecture, size: int, pooling: Pooling | str, weights: str | None) -> "keras.Model":
    """Call the network's function; ConvNeXt normalises after pooling, so the pooling is left to Keras where it can."""
    import keras

    build = getattr(keras.applications, architecture.class_name)
    alpha = {} if architecture.alpha is None else {"alpha": architecture.alpha}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`input_shape` is undefined or non-square", UserWarning)
        return build(
            include_top=False,
            weights=weights,
            input_shape=(size, size, 3),
            pooling=None if pooling == "flatten" else pooling,
            **alpha,
        )


def _is_published(architecture: Architecture, path: Path) -> bool:
    """Whether a file is the one that Keras publishes for an EfficientNet.

    Only that one goes with a further scaling behind the normalisation, which Keras adds for ``weights="imagenet"`` and
    leaves out for the path of the very same file (keras/src/applications/efficientnet.py).
    """
    from keras.src.applications.efficientnet import WEIGHTS_HASHES

    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return bool(digest == WEIGHTS_HASHES[architecture.class_name[-2:].lower()][1])


def _loaded(network: "keras.Model", weights: Path) -> "keras.Model":
    """Load a Keras file; what it leaves out stays NaN and is refused, where Keras may only warn."""
    from keras import ops

    network.set_weights([_blank(weight) for weight in network.weights])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping nested container", UserWarning)
        network.load_weights(weights)
    left_out = [weight.path for weight in network.weights if ops.any(ops.isnan(ops.cast(weight, "float32")))]
    if left_out:
        raise ValueError(f"it leaves out {left_out[0]}")
    return network


def _blank(weight: Any) -> "np.ndarray[Any, Any]":
    values = np.asarray(weight)
    return np.full_like(values, np.nan) if np.issubdtype(values.dtype, np.floating) else values
