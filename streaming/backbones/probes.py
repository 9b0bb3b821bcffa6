"""The pictures on which a compiled backbone is held against Keras, and the comparison."""

import numpy as np
from numpy.typing import NDArray

from conf.errors import BackboneError

TOLERANCE = 1e-4
PROBES = 8


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


def check_usable(vectors: NDArray[np.float32]) -> None:
    """Refuse what a network without sense gives.

    Raises
    ------
    BackboneError
        A vector is not finite or all zero, or all pictures have the same.
    """
    if not (np.isfinite(vectors).all() and vectors.any(axis=1).all()):
        raise BackboneError("The backbone gives vectors that are zero or not finite; its weights are not usable.")
    if (vectors == vectors[0]).all():
        raise BackboneError("The backbone gives one vector to different pictures; its weights are not usable.")


def worst_error(vectors: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Compare what a compiled backbone gave with what Keras gave.

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
        A vector is not finite or all zero, all are the same, or the error is above `TOLERANCE`.
    """
    check_usable(reference)
    check_usable(vectors)
    error = float((np.linalg.norm(vectors - reference, axis=1) / np.linalg.norm(reference, axis=1)).max())
    if error > TOLERANCE:
        raise BackboneError(
            f"The compiled backbone differs from Keras by {error:.1e} on the probe pictures, over {TOLERANCE:.0e}; "
            "these versions of tensorflow and ai-edge-litert do not go together: install those of requirements.txt."
        )
    return error
