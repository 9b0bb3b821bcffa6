"""The report: from a lake to all that is to be said of one featurizer's feature space. Starts no JVM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch import models
from batch.algebra import solvers
from batch.algebra.moments import Moments
from batch.model import Model
from batch.own_labels import OwnLabels
from batch.report import duplicates, history, pictures
from batch.report.duplicates import Exact
from batch.report.findings import Findings, Refitted, Rejected
from batch.report.first_reading import READING
from batch.report.history import Times
from batch.report.pictures import Links, Thumbnails
from batch.report.resemblance import Near
from batch.report.survey import Survey, survey
from batch.rows.parts import PartGone
from batch.rows.winners import snapshot, winners
from batch.view import View, view
from conf.errors import StorageError
from conf.lake import LakePaths
from conf.redaction import redacted
from conf.saying import Say, silent
from conf.schemas import FEATURES

_TRIES = 5


def findings(
    lake: LakePaths,
    featurizer: str,
    *,
    labels: OwnLabels | None = None,
    thumbnails: Thumbnails | None = None,
    links: Links | None = None,
    say: Say = silent,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Findings:
    """Find all that a report says.

    Parameters
    ----------
    featurizer
        A whole id.
    labels
        The user's own, which replace every label of the lake.
    thumbnails
        Reads pictures, small; asked twice: for what may be near duplicates, then for what is shown. Without it only
        pictures that lie very near count as near duplicates.
    links
        Gives where a browser finds pictures.
    say
        Told each step and how many pictures it has done.
    now
        When the report is made.

    Raises
    ------
    LakeError
        Nothing has been refitted yet, or a table cannot be read.
    StorageError
        A file cannot be read.
    """
    known = _known(lake, featurizer, labels, say)
    look, points = known.survey, known.survey.sample.points
    compared = duplicates.uris_of(points, known.near, pictures.COMPARED)
    had = _small(thumbnails, known.view, compared, say)
    twice = duplicates.duplicates(known.exact, points, known.near, had)
    telling = pictures.named(look.strays, twice, look.labels)
    if thumbnails:
        shown = pictures.shown(telling, points, had, compared)
        missing = [uri for uri in shown if uri not in had]
        had |= _small(thumbnails, known.view, missing, say)
        had = {uri: had[uri] for uri in shown if uri in had}
    linked = [*telling, *pictures.named((), twice, (), known.rejected), *points["uri"].to_pylist()]
    say("finding what every component explains")
    variances, shares = spectrum(models.load(lake, known.view.model.id, moments=True))
    model = known.view.model
    return Findings(
        lake=redacted(str(lake.root)),
        featurizer=featurizer,
        made_at=now(),
        model=model.id,
        run_card=model.run_card,
        n=look.n,
        provisional=look.provisional,
        width=model.width,
        k=model.k,
        variances=variances,
        shares=shares,
        labels=look.labels,
        labelled_by=labels.name if labels else "",
        strays=look.strays,
        sample=look.sample,
        duplicates=twice,
        rejected=known.rejected,
        refits=known.refits,
        intervals=history.intervals(known.times),
        thumbnails=had,
        links=links(list(dict.fromkeys(linked))) if links else {},
        labels_beyond=look.beyond,
        suspected=look.suspected,
        freshness=history.freshness(known.times),
    )


def _small(thumbnails: Thumbnails | None, seen: View, uris: Sequence[str], say: Say) -> dict[str, NDArray[np.uint8]]:
    return dict(thumbnails(pictures.versions(seen, uris), say)) if thumbnails and uris else {}


def spectrum(model: Model) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the variances by component and their shares of all variance, shape (m,).

    The model's k components come in its own order, which a refit takes over from the model before and is not always
    that of their variances; all others follow, greatest first.

    Parameters
    ----------
    model
        With its moments, which tell of every component; without them there are its k only.
    """
    variances, shares = model.explained_variance, model.explained_variance_ratio
    moments = Moments.from_bytes(model.moments) if model.moments else None
    if moments is None or not moments.full:
        return variances, shares
    others = [each[model.k :] for each in solvers.eigenvalues(moments.n, moments.mean, moments.scatter)]
    return np.concatenate([variances, others[0]]), np.concatenate([shares, others[1]])


@dataclass(frozen=True, eq=False)
class _Known:
    """What the tables tell, before any picture is looked at."""

    view: View
    survey: Survey
    exact: Exact
    near: Near
    rejected: tuple[Rejected, ...]
    refits: tuple[Refitted, ...]
    times: Times


def _known(lake: LakePaths, featurizer: str, labels: OwnLabels | None, say: Say) -> _Known:
    for _ in range(_TRIES):
        try:
            return _read(lake, featurizer, labels, say)
        except PartGone:
            continue
    raise StorageError(f"the files of {lake.table(FEATURES)} vanish while they are read: report again later")


def _read(lake: LakePaths, featurizer: str, labels: OwnLabels | None, say: Say) -> _Known:
    say(READING)
    seen = view(lake, featurizer)
    look = survey(seen.batches, seen.model.k, labels, say)
    outcomes = snapshot(lake.table(FEATURES), featurizer, seen.features_version)
    exact = duplicates.exact(winners(outcomes, pa.array([], pa.string())).parts, labels, say)
    say("looking for pictures that lie near to one another", 0, look.sample.points.num_rows)
    near = duplicates.near(look.sample.points, look.drawn, exact.named)
    say("reading what was rejected")
    rejected = history.rejected(outcomes.parts)
    times = history.times_of(outcomes.parts, say)
    return _Known(seen, look, exact, near, rejected, history.refits(lake, featurizer), times)
