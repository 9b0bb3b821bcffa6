"""Replacing a featurizer's components: every picture placed on a model's axes, and published in one commit.

A takedown may come in between: it removes rows from the tables, and what was read before must not bring them back. So
the features are looked at again right before the commit, and once more after it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from batch import models, publication
from batch.model import Model, Projection
from batch.rows.changes import FeedGone, read_changes
from batch.rows.parts import Part, dealt, pieces
from batch.tasks import projecting
from batch.tasks.distribution import Distribution, Told, nobody
from batch.tasks.projecting import Projected, Reading, Work, Written
from conf import points
from conf.deletion import delete_pictures
from conf.lake import LakePaths
from conf.logs import fields, logger
from conf.schemas import COMPONENTS, FEATURES
from conf.tables import open_table


class Overtaken(Exception):
    """The lake changed meanwhile, so that the work has to begin again; nothing was committed."""


def replace_components(
    lake: LakePaths,
    model: Model,
    features_version: int,
    readings: Sequence[Reading],
    distribution: Distribution,
    told: Told = nobody,
) -> int:
    """Publish a model of the table for the pictures of a version of features; return how many those are.

    Raises
    ------
    Overtaken, batch.rows.parts.PartGone
        The lake changed meanwhile: nothing was committed.
    StorageError
        The lake cannot be written.
    """
    made = project(
        lake, model.featurizer, model.id, model.projection, features_version, readings, frozenset(), distribution, told
    )
    publish(lake, model.featurizer, model.id, features_version, made.files)
    return made.rows


def project(
    lake: LakePaths,
    featurizer: str,
    model: str,
    projection: Projection,
    features_version: int,
    readings: Sequence[Reading],
    labels: frozenset[str | None],
    distribution: Distribution,
    told: Told = nobody,
) -> Projected:
    """Write the components of every picture into files that no commit names yet; `told` hears how far that is."""
    folder = publication.folder(lake, featurizer)
    work = Work(projection, model, features_version, str(folder), labels)
    shares = _shares(readings, distribution.tasks)
    task = functools.partial(projecting.project, work=work)
    projected = projecting.read_projected(distribution.rows(task, shares, projecting.SAID, told))
    points.reach("components-written")
    return projected


def publish(lake: LakePaths, featurizer: str, model: str, features_version: int, files: Sequence[Written]) -> None:
    """Replace the components by the rows of some files, unless a takedown came in between.

    Raises
    ------
    Overtaken
        One did, or somebody else changed the components: the files are deleted.
    StorageError
        The lake cannot be written.
    """
    looked_at = open_table(lake.table(FEATURES)).version()
    gone = _deleted(lake, featurizer, features_version, looked_at)
    if len(gone) or not _commit(lake, featurizer, model, features_version, files):
        discard(lake, featurizer, files)
        raise Overtaken("pictures were taken down meanwhile" if len(gone) else "the components changed meanwhile")
    points.reach("components-published")
    late = _deleted(lake, featurizer, looked_at, open_table(lake.table(FEATURES)).version())
    if len(late):
        delete_pictures(lake.table(COMPONENTS), late.to_pylist())
    logger().info(
        "published",
        extra=fields(featurizer=featurizer, model=model, features_version=features_version, taken_down=len(late)),
    )


def _commit(lake: LakePaths, featurizer: str, model: str, features_version: int, files: Sequence[Written]) -> bool:
    made = models.summaries(lake, featurizer, ["created_at"])["created_at"].to_pylist()
    return publication.publish(lake, featurizer, model, features_version, files, knows=made[-1])


def discard(lake: LakePaths, featurizer: str, files: Sequence[Written]) -> None:
    """Delete files that no commit names."""
    for each in files:
        (publication.folder(lake, featurizer) / each.name).unlink(missing_ok=True)


def _deleted(lake: LakePaths, featurizer: str, since: int, until: int) -> pa.Array:
    """Return the uris of which rows were deleted from features after a version.

    Raises
    ------
    Overtaken
        It is not known which: what the log says of it is gone already.
    """
    if since == until:
        return pa.array([], pa.string())
    try:
        deleted = read_changes(lake.table(FEATURES), featurizer, since, until).deleted
    except FeedGone as gone:
        raise Overtaken(str(gone)) from gone
    return pc.unique(deleted["uri"])


def _shares(readings: Sequence[Reading], tasks: int) -> list[list[Reading]]:
    """Deal readings out as `batch.rows.parts.dealt` does their parts."""
    new = {id(each.part): each.new for each in readings}
    parts = [each.part for each in readings]
    shares: list[list[Part]] = dealt(parts, pieces(parts, tasks))
    return [[Reading(part, new[id(part)]) for part in share] for share in shares]
