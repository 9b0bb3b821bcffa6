"""How well vectors tell pictures apart: whether the nearest is of the same label, and how many axes it takes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.algebra.solvers import Wanted, greatest_rank, how_many, varying_columns

Vectors = NDArray[np.float32]
# Columns that are held as float64 at a time.
_COLUMNS = 4096


def purity(vectors: Vectors, labels: Sequence[str | None]) -> tuple[float, float] | None:
    """Return the share of pictures whose nearest other one has their label, and what it would be by chance.

    Parameters
    ----------
    vectors
        Shape (n, d); nearest is by the greatest cosine, the first of equals.
    labels
        n of them; those without one are left out.

    Returns
    -------
    tuple of float, or None
        None for fewer than two labels.
    """
    known = np.array([each is not None for each in labels], np.bool_)
    names, own, counts = np.unique(
        np.array([each for each in labels if each is not None], np.str_), return_inverse=True, return_counts=True
    )
    if len(names) < 2:
        return None
    n = len(own)
    return float(agreeing(vectors[known], own).mean()), float((counts * (counts - 1)).sum() / (n * (n - 1)))


def agreeing(vectors: NDArray[np.floating[Any]], labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return of each vector, shape (n, d), whether the nearest other one, by the cosine, has its label (n)."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(vectors.dtype).tiny)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -np.inf)
    return np.asarray(labels[cosines.argmax(axis=1)] == labels)


def components_for(vectors: Vectors, share: float = 0.90) -> int:
    """Return how many components explain a share of the variance of vectors, (n, d), whose columns are standardised.

    The eigenvalues are taken from the smaller of the two products of the standardised matrix with itself: those that
    are not zero are the same, and a sample is mostly smaller than its vectors are wide.
    """
    n = len(vectors)
    if n < 2:
        return 0
    mean, variance = _moments(vectors)
    varying = varying_columns(mean, variance)
    most = greatest_rank(n, varying)
    if not most:
        return 0
    kept = np.flatnonzero(varying)
    blocks = (
        (vectors[:, columns] - mean[columns]) / np.sqrt(variance[columns])
        for columns in np.array_split(kept, max(1, math.ceil(len(kept) / _COLUMNS)))
    )
    if n < len(kept):
        product: NDArray[np.float64] = np.zeros((n, n))
        for block in blocks:
            product += block @ block.T
    else:
        standard = np.concatenate(list(blocks), axis=1)
        product = standard.T @ standard
    values = np.asarray(np.linalg.eigvalsh(product / n)[::-1][:most], np.float64)
    return how_many(values, Wanted(variance=share), int(varying.sum()))


def _moments(vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance, with ddof 0, of each column."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    variance = np.empty_like(mean)
    for start in range(0, len(mean), _COLUMNS):
        centred = vectors[:, start : start + _COLUMNS] - mean[start : start + _COLUMNS]
        variance[start : start + _COLUMNS] = np.einsum("ij,ij->j", centred, centred) / len(vectors)
    return mean, variance
