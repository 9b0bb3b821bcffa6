"""A model: standardisation and principal axes, fitted to one version of one featurizer's features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """What places a picture on a model's axes; all that a worker needs of a model.

    Attributes
    ----------
    mean, scale : ndarray (d,) of float64
        Of each column of features; a constant column has the scale 1.
    basis : ndarray (k, d) of float64
        Orthonormal rows, the axes, in standardised coordinates; zero where a column is constant.
    """

    mean: Doubles
    scale: Doubles
    basis: Doubles

    @property
    def width(self) -> int:
        """Length of the features, d."""
        return len(self.mean)

    def standardised(self, vectors: NDArray[Any]) -> Doubles:
        """Return features (m, d) as z = (x - mean) / scale, of float64."""
        centred: Doubles = np.subtract(vectors, self.mean, dtype=np.float64)
        centred /= self.scale
        return centred

    def components(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """Return the components (m, k) of features (m, d): z times the basis, transposed."""
        return self.placed(self.standardised(vectors))

    def placed(self, standardised: Doubles) -> NDArray[np.float32]:
        """Return the components (m, k) of standardised features (m, d)."""
        return (standardised @ self.basis.T).astype(np.float32)


@dataclass(frozen=True)
class Model:
    """One refit's result: a row of `models`.

    Attributes
    ----------
    id : str
        When it was fitted, and a hash of what it is: sorts by time.
    featurizer : str
        Whose features.
    created_at : datetime
        In UTC; later than every model before it.
    features_version : int
        Of `features`; the pictures that it was fitted to.
    n, rejected : int
        Pictures that it was fitted to, and those whose newest outcome was a rejection.
    solver : {"covariance", "randomized"}
    projection : Projection
    explained_variance, explained_variance_ratio : ndarray (k,) of float64
        As scikit-learn's PCA gives them after its StandardScaler.
    labels : bytes
        `batch.algebra.labels.LabelMeans`.
    moments : bytes or None
        `batch.algebra.moments.Moments`; None where the solver needed none.
    drift : mapping or None
        A `drift` struct of the table; None for a first model.
    parent : str or None
        The model before it.
    run_card : mapping
        How it was made.
    """

    id: str
    featurizer: str
    created_at: datetime
    features_version: int
    n: int
    rejected: int
    solver: str
    projection: Projection
    explained_variance: Doubles
    explained_variance_ratio: Doubles
    labels: bytes
    moments: bytes | None = None
    drift: Mapping[str, Any] | None = None
    parent: str | None = None
    run_card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def k(self) -> int:
        """Number of components."""
        return len(self.explained_variance)

    @property
    def width(self) -> int:
        """Length of the features, d."""
        return self.projection.width

    def row(self) -> dict[str, Any]:
        """Return the model as a row of the table."""
        return {
            "model": self.id,
            "featurizer": self.featurizer,
            "created_at": self.created_at,
            "features_version": self.features_version,
            "n": self.n,
            "rejected": self.rejected,
            "width": self.width,
            "k": self.k,
            "solver": self.solver,
            "mean": self.projection.mean,
            "scale": self.projection.scale,
            "explained_variance": self.explained_variance,
            "explained_variance_ratio": self.explained_variance_ratio,
            "basis": self.projection.basis.astype("<f8").tobytes(),
            "moments": self.moments,
            "labels": self.labels,
            "drift": self.drift,
            "parent": self.parent,
            "run_card": json.dumps(self.run_card, default=str),
        }


def from_row(row: Mapping[str, Any]) -> Model:
    """Return the model that a row of the table holds; columns that were not read may be missing but for the basis."""
    k, width = row["k"], row["width"]
    basis = np.frombuffer(row["basis"], "<f8").reshape(k, width).astype(np.float64)
    return Model(
        id=row["model"],
        featurizer=row["featurizer"],
        created_at=row["created_at"],
        features_version=row["features_version"],
        n=row["n"],
        rejected=row["rejected"],
        solver=row["solver"],
        projection=Projection(np.asarray(row["mean"], np.float64), np.asarray(row["scale"], np.float64), basis),
        explained_variance=np.asarray(row["explained_variance"], np.float64),
        explained_variance_ratio=np.asarray(row["explained_variance_ratio"], np.float64),
        labels=row["labels"],
        moments=row.get("moments"),
        drift=row["drift"],
        parent=row["parent"],
        run_card=json.loads(row["run_card"]),
    )


def id_of(created_at: datetime, projection: Projection) -> str:
    """Return the id of a model: the second of its making, and a hash of the moment and of its axes."""
    what = hashlib.sha256(projection.basis.tobytes() + projection.mean.tobytes() + created_at.isoformat().encode())
    return f"{created_at:%Y%m%dT%H%M%S}-{what.hexdigest()[:6]}"
