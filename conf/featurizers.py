"""Which featurizers a lake holds, and which one a person means."""

from collections.abc import Sequence

import pyarrow as pa

from conf.errors import LakeError, UsageError
from conf.lake import LakePaths
from conf.schemas import FEATURES
from conf.tables import files_of, open_table


def featurized(lake: LakePaths) -> list[str]:
    """Return the ids of the featurizers that have rows, the one that was streamed last at the end."""
    return ordered(files_of(open_table(lake.table(FEATURES))))


def ordered(files: pa.Table) -> list[str]:
    """Return the featurizers of some files of features, as the log tells of them; the one streamed last at the end."""
    if not files.num_rows:
        return []
    # Files are written anew by takedowns and compaction: the time of the outcomes counts before theirs.
    telling = [name for name in ("max.featurized_at", "modification_time") if name in files.column_names]
    last = files.group_by("partition.featurizer").aggregate([(name, "max") for name in telling])
    rows = last.sort_by([(f"{name}_max", "ascending") for name in telling])
    return [str(each) for each in rows["partition.featurizer"].to_pylist()]


def chosen(lake: LakePaths, wish: str = "") -> str:
    """Return the one featurizer of a lake that an id, a prefix, or nothing means: the one that was streamed last.

    Raises
    ------
    UsageError
        None begins with the prefix, or several do.
    LakeError
        Nothing has been streamed yet.
    """
    present = featurized(lake)
    if not present:
        raise LakeError(f"{lake.root} holds no features yet: `verger stream` writes them")
    return meant(wish, present) if wish else present[-1]


def meant(wish: str, present: Sequence[str]) -> str:
    """Return the one of `present` that an id, or the beginning of one, means.

    Raises
    ------
    UsageError
        None begins so, or several do.
    """
    matching = [each for each in present if each == wish] or [each for each in present if each.startswith(wish)]
    if len(matching) != 1:
        how_many = "no featurizer" if not matching else "more than one featurizer"
        raise UsageError(f"featurizer {wish!r}: {how_many} begins so; the lake has {', '.join(present) or 'none'}")
    return matching[0]
