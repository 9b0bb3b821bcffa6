"""Compiling a backbone: Keras network + scaling + pooling -> one LiteRT model, compared with Keras before it is given.

TensorFlow is imported inside functions only: a driver that runs for months calls `compile_in_child` and never holds it.
"""

import hashlib
import tempfile
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conf.errors import BackboneError, first_line
from streaming import efficientnet_lite0
from streaming.backbones import Backbone, BackboneRequest
from streaming.child import in_child, load_tensorflow
from streaming.runtime import Runtime
from streaming.shelf import Compiled, Manifest
from streaming.weights import ALPHA, WeightsSource, resolve

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-4
PROBES = 8


def compile_backbone(request: BackboneRequest) -> Compiled:
    """Compile in this process, which then holds TensorFlow; see `compile_in_child`.

    The model takes uint8 pixels of shape (1, size, size, 3) and gives a float32 vector of shape (1, width). It runs on
    probe pictures before it is returned, since a conversion can lose the weights without an error.

    Raises
    ------
    UsageError
        The weights file is missing.
    BackboneError
        TensorFlow or the weights cannot be had, the weights do not fit, or LiteRT and Keras disagree.
    """
    backbone, source = resolve(request)
    tensorflow = load_tensorflow()
    with tensorflow.device("/CPU:0"):  # a GPU's TF32 is further from float32 than the tolerance
        model = _with_input_and_pooling(_network(backbone, source), backbone)
        tflite = _convert(model)
        probes = probe_pictures(backbone.preparation.size)
        reference = np.concatenate([np.asarray(model(probe[np.newaxis])) for probe in probes])
    vectors, seconds = _run(tflite, backbone, probes)
    return Compiled(tflite, _manifest(backbone, tflite, worst_error(vectors, reference), seconds))


def compile_in_child(request: BackboneRequest) -> Compiled:
    """Compile in a fresh process that ends afterwards and says nothing on the terminal.

    Raises
    ------
    UsageError, BackboneError
        As `compile_backbone`; also when the process dies, with the last line that it wrote.
    """
    return in_child(compile_backbone, request)


def probe_pictures(size: int) -> NDArray[np.uint8]:
    """Draw the pictures on which LiteRT is held against Keras: colour waves with noise, the same ones every time.

    Returns
    -------
    ndarray of shape (8, size, size, 3), uint8
    """
    draw = np.random.default_rng(0)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j][..., np.newaxis]
    slope_x, slope_y, phase = draw.uniform(-1, 1, (3, PROBES, 1, 1, 3))
    waves = 127.5 + 100 * np.sin(2 * np.pi * (slope_x * x + slope_y * y + phase))
    noise = draw.normal(0, 1, waves.shape) * np.linspace(0, 50, PROBES).reshape(-1, 1, 1, 1)
    pictures: NDArray[np.uint8] = np.clip(waves + noise, 0, 255).astype(np.uint8)
    return pictures


def worst_error(vectors: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Compare what LiteRT gave with what Keras gave.

    Parameters
    ----------
    vectors, reference : ndarray of shape (n, width), float32

    Returns
    -------
    float
        The greatest ``‖vector - reference‖ / ‖reference‖``.

    Raises
    ------
    BackboneError
        A vector is not finite or all zero, or the error is above `TOLERANCE`.
    """
    norms = np.linalg.norm(reference, axis=1)
    if not (np.isfinite(vectors).all() and np.isfinite(norms).all() and vectors.any(axis=1).all() and norms.all()):
        raise BackboneError("The backbone gives vectors that are zero or not finite; its --weights are not usable.")
    error = float((np.linalg.norm(vectors - reference, axis=1) / norms).max())
    if error > TOLERANCE:
        raise BackboneError(
            f"LiteRT differs from Keras by {error:.1e} on the probe pictures, over {TOLERANCE:.0e}; "
            "these versions of tensorflow and ai-edge-litert do not go together: install those of requirements.txt."
        )
    return error


def _network(backbone: Backbone, source: WeightsSource) -> "keras.Model":
    """Build (n, size, size, 3) scaled pixels -> last feature map, with its weights."""
    if source.seed is not None:
        return _randomised(_build(backbone, None), backbone, source.seed)
    path = source.path or efficientnet_lite0.embedded_weights()
    try:
        return _build(backbone, path)
    except (OSError, ValueError, KeyError, TypeError) as error:  # h5py and Keras each raise several
        fault = f"the file does not fit {backbone.architecture} ({first_line(error)})"
        raise BackboneError(f"--weights {path}: {fault}.") from error


def _build(backbone: Backbone, weights: Path | None) -> "keras.Model":
    size = backbone.preparation.size
    if backbone.architecture == "efficientnet-lite0":
        return efficientnet_lite0.build(size, None if weights is None else efficientnet_lite0.read_pth(weights))
    import keras

    alpha = ALPHA[backbone.architecture]
    network = keras.applications.MobileNetV2((size, size, 3), alpha, include_top=False, weights=None)
    return network if weights is None else _loaded(network, weights)


def _loaded(network: "keras.Model", weights: Path) -> "keras.Model":
    """Load a Keras file; what it leaves out stays NaN and is refused, where Keras may only warn."""
    from keras import ops

    network.set_weights([np.full(weight.shape, np.nan) for weight in network.weights])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping nested container", UserWarning)
        network.load_weights(weights)
    left_out = [weight.path for weight in network.weights if ops.any(ops.isnan(weight))]
    if left_out:
        raise ValueError(f"it leaves out {left_out[0]}")
    return network


def _randomised(network: "keras.Model", backbone: Backbone, seed: int) -> "keras.Model":
    """Draw every kernel, then set the batch normalisations to what they see on the probe pictures.

    Without the second step the signal fades layer by layer and the vectors are about 1e-12. Without the shift by one
    standard deviation the network is chaotic: it multiplies rounding by 200 and not by 5. NumPy draws, so that a seed
    means the same kernels under every version of TensorFlow.
    """
    draw = np.random.default_rng(seed)
    for layer in network.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(draw.standard_normal(layer.kernel.shape, dtype=np.float32))
        if hasattr(layer, "moving_variance"):
            layer.beta.assign(np.ones(layer.beta.shape, np.float32))
            layer.momentum = 0.0
    pictures = probe_pictures(backbone.preparation.size).astype(np.float32)
    network(pictures * backbone.scale + backbone.offset, training=True)
    return network


def _with_input_and_pooling(network: "keras.Model", backbone: Backbone) -> "keras.Model":
    import keras

    size = backbone.preparation.size
    pooling = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
    }[backbone.pooling]
    pixels = keras.Input((size, size, 3), batch_size=1, dtype="uint8")
    scaled = keras.layers.Rescaling(backbone.scale, backbone.offset)(pixels)
    return keras.Model(pixels, pooling()(network(scaled)))


def _convert(model: "keras.Model") -> bytes:
    """Convert by `from_keras_model`: `from_concrete_functions` loses the weights under Keras 3."""
    converted: bytes = load_tensorflow().lite.TFLiteConverter.from_keras_model(model).convert()
    return converted


def _run(tflite: bytes, backbone: Backbone, probes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """Run LiteRT as a worker does, from a file; also give its median seconds per picture."""
    with tempfile.TemporaryDirectory(prefix="verger-compile-") as folder:
        model = Path(folder) / "model.tflite"
        model.write_bytes(tflite)
        runtime = Runtime(model, backbone)
        vectors = np.stack([runtime(probe) for probe in probes])
        return vectors, float(np.median([_seconds(runtime, probe) for probe in probes]))


def _seconds(runtime: Runtime, probe: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    runtime(probe)
    return time.perf_counter() - start


def _manifest(backbone: Backbone, tflite: bytes, probe_error: float, seconds: float) -> Manifest:
    import keras

    return Manifest(
        backbone=backbone,
        tflite_sha256=hashlib.sha256(tflite).hexdigest(),
        tflite_bytes=len(tflite),
        probe_error=probe_error,
        seconds_per_picture=seconds,
        versions={
            "tensorflow": load_tensorflow().__version__,
            "keras": keras.__version__,
            "litert": version("ai-edge-litert"),
        },
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
