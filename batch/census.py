"""How many outcomes a lake has, and why some are rejections: counted from the log, whatever the number of rows.

The log says of each file how many rows it has, how many of them are no rejections, and the first and the last of the
reasons by name. Only where these differ, or somebody wrote a file without them, the one column of that file is read.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from batch.rows.parts import PartGone, read_column
from conf import featurizers
from conf.tables import files_of, open_table

_READERS = 16
# A file goes while it is read where a takedown is being made good: the log then names others.
_TRIES = 3
# Spark cuts texts in its statistics: two long ones may begin alike.
_WHOLE_BELOW = 32
_FACTS = {
    "path": "path",
    "num_records": "rows",
    "null_count.rejection": "unrejected",
    "min.rejection": "first",
    "max.rejection": "last",
    "max.featurized_at": "latest",
    "partition.featurizer": "featurizer",
}


@dataclass(frozen=True)
class Size:
    """How large a table is: the files of its current version, and their bytes."""

    files: int
    bytes: int


@dataclass(frozen=True)
class Arrived:
    """What a table of arrivals holds.

    Attributes
    ----------
    size : Size
        The table's.
    total : int
        Its rows: versions of pictures, and attempts at them.
    last_at : datetime or None
        When the newest was discovered, within a millisecond.
    """

    size: Size
    total: int
    last_at: datetime | None


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of one featurizer: every version of a picture and every attempt at it counts.

    Attributes
    ----------
    featurizer : str
        Its id.
    total : int
        Rows of `features`.
    rejections : Mapping[str, int]
        How many of them are rejections, by reason.
    last_at : datetime or None
        When the newest was made, within a millisecond.
    """

    featurizer: str
    total: int
    rejections: Mapping[str, int]
    last_at: datetime | None

    @property
    def rejected(self) -> int:
        """Rejections for any reason."""
        return sum(self.rejections.values())


@dataclass(frozen=True)
class Census:
    """What a table of features holds.

    Attributes
    ----------
    size : Size
        The table's.
    featurizers : tuple of Outcomes
        Of each that has any, the one that was streamed last at the end.
    """

    size: Size
    featurizers: tuple[Outcomes, ...]


def size(place: str) -> Size:
    """Return how large the table at `place` is."""
    return _size(files_of(open_table(place)))


def arrived(place: str) -> Arrived:
    """Count the table of arrivals at `place`."""
    files = files_of(open_table(place))
    last = pc.max(files["max.discovered_at"]).as_py() if "max.discovered_at" in files.column_names else None
    return Arrived(_size(files), pc.sum(files["num_records"]).as_py() or 0, last)


def census(place: str) -> Census:
    """Count the outcomes in the table of features at `place`.

    Raises
    ------
    LakeError
        The table cannot be opened.
    StorageError
        A file whose statistics do not tell enough cannot be read.
    """
    for _ in range(_TRIES - 1):
        try:
            return _census(place, open_table(place))
        except PartGone:
            continue
    return _census(place, open_table(place))


def outcomes_at(place: str, version: int, featurizer: str) -> int | None:
    """Return how many outcomes a featurizer had in a version of the table; None where the log no longer says."""
    table = open_table(place)
    try:
        table.load_as_version(version)
    except (DeltaError, OSError):
        return None
    counts = files_of(table, featurizer=featurizer)["num_records"]
    return None if counts.null_count else pc.sum(counts).as_py() or 0


def _size(files: pa.Table) -> Size:
    return Size(files.num_rows, pc.sum(files["size_bytes"]).as_py() or 0)


@dataclass(frozen=True)
class _File:
    """What the log says of a file; None where it says nothing."""

    featurizer: str
    path: str
    rows: int | None = None
    unrejected: int | None = None
    first: str | None = None
    last: str | None = None
    latest: datetime | None = None


@dataclass(frozen=True)
class _Count:
    """What a file holds."""

    file: _File
    rows: int
    rejections: Mapping[str, int]
    latest: datetime | None


def _census(place: str, table: DeltaTable) -> Census:
    files = files_of(table)
    known = [name for name in _FACTS if name in files.column_names]
    named = files.select(known).rename_columns([_FACTS[name] for name in known]).to_pylist()
    with ThreadPoolExecutor(_READERS) as readers:
        counts = list(readers.map(lambda each: _counted(place, _File(**each)), named))
    return Census(_size(files), tuple(_summed(name, counts) for name in featurizers.ordered(files)))


def _summed(featurizer: str, counts: Sequence[_Count]) -> Outcomes:
    mine = [each for each in counts if each.file.featurizer == featurizer]
    rejections = sum((Counter(each.rejections) for each in mine), Counter[str]())
    return Outcomes(
        featurizer=featurizer,
        total=sum(each.rows for each in mine),
        rejections=dict(sorted(rejections.items())),
        last_at=max((each.latest for each in mine if each.latest), default=None),
    )


def _counted(place: str, file: _File) -> _Count:
    told = _told(file)
    return _looked(f"{place}/{unquote(file.path)}", file) if told is None else told


def _told(file: _File) -> _Count | None:
    """Return what the log tells of a file, None where that is not enough."""
    if file.rows is None or file.unrejected is None or (file.rows and file.latest is None):
        return None
    rejected = file.rows - file.unrejected
    if not rejected:
        return _Count(file, file.rows, {}, file.latest)
    alike = file.first is not None and file.first == file.last and len(file.first) < _WHOLE_BELOW
    return _Count(file, file.rows, {str(file.first): rejected}, file.latest) if alike else None


def _looked(path: str, file: _File) -> _Count:
    """Count the rows of a file itself."""
    reasons = read_column(path, "rejection")
    counts = pc.value_counts(reasons.drop_null()).to_pylist()
    latest = file.latest or pc.max(read_column(path, "featurized_at")).as_py()
    return _Count(file, len(reasons), {each["values"]: each["counts"] for each in counts}, latest)
