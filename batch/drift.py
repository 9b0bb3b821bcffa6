"""What changed between two models: their axes, variances and means, and how well rows are shown, old ones and new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batch.algebra.alignment import principal_angles
from batch.algebra.labels import LabelMeans
from batch.model import Model, Projection

if TYPE_CHECKING:
    from batch.tasks.projecting import Losses, Projected


def drift(
    before: Model,
    former: NDArray[np.float64],
    after: Projection,
    explained_variance: NDArray[np.float64],
    labels: LabelMeans,
    projected: Projected,
    *,
    told_apart: bool,
) -> dict[str, Any]:
    """Report on a refit, as the `drift` struct of `models` has it.

    Parameters
    ----------
    before
        The model whose axes the new ones were matched to.
    former
        Those axes as directions in the new standardised coordinates (k0, d).
    after
        The new one's standardisation and axes.
    explained_variance
        Of the new one (k).
    labels
        Number and mean features of each label now.
    projected
        What projecting all rows on the new axes lost.
    told_apart
        Whether it is known which rows are new since `before`; else all are measured as old ones.

    Returns
    -------
    dict
        `principal_angles` in degrees between the two subspaces, least first (Björck & Golub 1973), `eigenvalue_change`
        as new / old - 1 by place, `mean_shift` of the columns in standard deviations of `before` (root mean square, and
        the greatest), and the reconstruction errors, the share of the squared standardised features off the new axes.
    """
    shift = _shift(after.mean, before.projection.mean, before)
    shared = min(before.k, len(explained_variance))
    old = np.maximum(before.explained_variance[:shared], np.finfo(float).tiny)
    return {
        "since": before.id,
        "old": projected.all.rows[False] if told_apart else None,
        "new": projected.all.rows[True] if told_apart else None,
        "principal_angles": np.degrees(principal_angles(after.basis, former)).tolist(),
        "eigenvalue_change": (explained_variance[:shared] / old - 1).tolist(),
        "mean_shift": _rms(shift),
        "mean_shift_max": float(np.abs(shift).max(initial=0)),
        **_errors(projected.all),
        "labels": _by_label(before, labels, projected.labels, told_apart),
    }


def _by_label(
    before: Model, labels: LabelMeans, losses: Mapping[str | None, Losses], told_apart: bool
) -> list[dict[str, str | int | float | None]]:
    former = LabelMeans.from_bytes(before.labels)
    means = dict(zip(former.names, former.means, strict=True))
    return [
        {
            "label": name,
            "n": int(count),
            "new": losses[name].rows[True] if told_apart and name in losses else None,
            "mean_shift": _rms(_shift(mean, means[name], before)) if name in means else None,
            **(_errors(losses[name]) if name in losses else {"error_old": None, "error_new": None}),
        }
        for name, count, mean in zip(labels.names, labels.counts, labels.means, strict=True)
    ]


def _shift(mean: NDArray[np.float64], former: NDArray[np.float64], before: Model) -> NDArray[np.float64]:
    shift: NDArray[np.float64] = (mean - former) / before.projection.scale
    return shift


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0


def _errors(losses: Losses) -> dict[str, float | None]:
    return {"error_old": losses.error(False), "error_new": losses.error(True)}
