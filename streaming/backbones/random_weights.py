"""Weights drawn from a seed, for tests: vectors of ordinary size that tell pictures apart."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streaming.backbones.backbone import Backbone
from streaming.backbones.probes import probe_pictures

if TYPE_CHECKING:
    import keras

_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


def randomise(network: "keras.Model", backbone: Backbone, seed: int) -> None:
    """Draw every kernel, then set the batch normalisations to what they see on the probe pictures.

    Without the second step the signal fades layer by layer and the vectors are about 1e-12. Without the shift by one
    standard deviation the network is chaotic: it multiplies rounding by 200 and not by 5. A kernel beside a bias may
    have no normalisation behind it and is scaled to keep the signal's size (He et al. 2015,
    https://arxiv.org/abs/1502.01852, eq. 10). NumPy draws, so that a seed means the same kernels under every version of
    TensorFlow.
    """
    draw = np.random.default_rng(seed)
    normalised = False
    for layer in _layers(network):
        for name in _KERNELS:
            if (kernel := getattr(layer, name, None)) is not None:
                kernel.assign(draw.standard_normal(kernel.shape, dtype=np.float32) * _gain(layer, kernel.shape))
        if hasattr(layer, "moving_variance"):
            layer.beta.assign(np.ones(layer.beta.shape, np.float32))
            layer.momentum = 0.0
            normalised = True
        if hasattr(layer, "rate"):
            layer.rate = 0.0  # dropout, which the calibration below would otherwise see
    if normalised:
        network(preprocessed(probe_pictures(backbone.preparation.size), backbone), training=True)


def preprocessed(pictures: NDArray[np.uint8], backbone: Backbone) -> NDArray[np.float32]:
    """Give pictures, of shape (n, size, size, 3), as the network sees them."""
    ordered = pictures[..., ::-1] if backbone.channels == "bgr" else pictures
    return ordered.astype(np.float32) * np.asarray(backbone.scale, np.float32) + np.asarray(backbone.offset, np.float32)


def _layers(network: "keras.Model") -> Iterator[Any]:
    for layer in network.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _gain(layer: Any, shape: tuple[int, ...]) -> np.float32:
    if not getattr(layer, "use_bias", False):
        return np.float32(1)
    depthwise = type(layer).__name__ == "DepthwiseConv2D"
    inputs = int(np.prod(shape[:2] if depthwise else shape[:-1]))
    return np.float32(np.sqrt(2 / inputs))
