"""What lies where under a lake's root, what makes a folder a lake, and which row of a uri is the newest."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import DeltaError

from conf import access
from conf.errors import LakeError, UsageError
from conf.objects import ObjectPath
from conf.retrying import persistently
from conf.schemas import ARRIVALS, FEATURES, NEWEST_WINS, TABLES, Table
from conf.tables import ensure
from conf.uris import Place, folder_of, spelled

# Spark takes some of these for patterns, delta-rs fails at others in a path.
_AWKWARD = frozenset("[]{}|^%#?*\\`")


@dataclass(frozen=True)
class LakePaths:
    """The places of one lake."""

    root: Place

    @property
    def remote(self) -> bool:
        """Whether it lies in an object store, where a commit is a request and nothing can be locked."""
        return isinstance(self.root, ObjectPath)

    def table(self, table: Table) -> str:
        """Return where a table lies."""
        return str(self.root / table.name)

    @property
    def checkpoints(self) -> Place:
        """Where the checkpoints of all queries lie, one folder per featurizer."""
        return self.root / "checkpoints"

    def checkpoint(self, featurizer: str) -> Place:
        """Return the checkpoint of the query that writes one featurizer's features."""
        return self.checkpoints / featurizer

    @property
    def quarantine(self) -> Place:
        """Where checkpoints go that no longer match the tables; upkeep deletes them later."""
        return self.root / "quarantine"

    @property
    def requests(self) -> Place:
        """Where commands leave what the driver is to do, and find its answers."""
        return self.root / "requests"

    @property
    def tombstones(self) -> Place:
        """Where takedowns are remembered, so that a forgotten picture does not arrive again."""
        return self.root / "tombstones"

    @property
    def backbones(self) -> Place:
        """Where compiled backbones and their manifests lie."""
        return self.root / "backbones"

    def lease(self, leg: str) -> Place:
        """Return the file or object that makes a process the one driver of a leg (`stream` or `refit`)."""
        return self.root / "leases" / leg

    def report(self, leg: str) -> Place:
        """Return the file in which the driver of a leg says how it stands."""
        return self.root / "reports" / f"{leg}.json"

    @property
    def exists(self) -> bool:
        """Whether this is a lake: it has its tables."""
        return not self.missing

    def has(self, table: Table) -> bool:
        """Whether a table is there."""
        return (self.root / table.name / "_delta_log").is_dir()

    @property
    def missing(self) -> list[str]:
        """Names of the tables that are not there."""
        return [each.name for each in (ARRIVALS, FEATURES) if not self.has(each)]


def _root(place: str) -> Place:
    if access.scheme_of(place):
        return _remote_root(place)
    root = folder_of(place, "lake")
    awkward = sorted(_AWKWARD.intersection(str(root)))
    if awkward or not str(root).isprintable():
        what = f"holds {' '.join(awkward)}" if awkward else "is not of printable characters, in UTF-8"
        raise UsageError(f"--lake {str(root)!r}: the path {what}, which not every reader of Delta tables takes")
    return root


def _remote_root(place: str) -> ObjectPath:
    root = spelled(place, "lake")
    if not root.startswith("s3://"):
        raise UsageError(f"--lake {place}: a lake lies in a folder or on S3; pictures may land there")
    if "/" not in root.removeprefix("s3://"):
        raise UsageError(f"--lake {place}: name a prefix within the bucket, as {root}/lake")
    if "%" in root:
        raise UsageError(f"--lake {place}: name a prefix of letters, digits and . _ - ~ /, which every reader takes")
    return ObjectPath(root)


def open_lake(place: str) -> LakePaths:
    """Return the paths of an existing lake.

    Raises
    ------
    LakeError
        There is nothing at `place`, or what is there is no lake.
    """
    paths = LakePaths(_root(place))
    try:
        if paths.exists:
            return paths
        there = paths.root.exists()
    except OSError as error:
        raise LakeError(f"--lake {paths.root}: {error.strerror or error}") from error
    if not there:
        raise LakeError(f"no lake at {paths.root}: `verger stream --landing PLACE --lake {paths.root}` makes one")
    raise LakeError(f"{paths.root} is not a lake: it holds no table named {paths.missing[0]}")


def future_lake(place: str) -> LakePaths:
    """Return the paths of the lake at `place`, which may be there or be made later; nothing is written.

    Raises
    ------
    LakeError
        `place` holds something else, or cannot be read.
    """
    paths = LakePaths(_root(place))
    try:
        if not paths.exists and paths.root.exists() and any(_visible(paths.root)):
            raise LakeError(f"{paths.root} is not empty and is not a lake: give --lake a new or empty folder")
    except OSError as error:
        raise LakeError(f"--lake {paths.root}: {error.strerror or error}") from error
    return paths


def create_lake(place: str) -> LakePaths:
    """Return the paths of the lake at `place`, creating its tables or bringing them to this version's columns.

    Raises
    ------
    LakeError
        `place` holds something else, cannot be written, or was written by a newer Verger.
    """
    paths = future_lake(place)
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        # Arrivals last: it is what makes the folder a lake.
        for table in (FEATURES, ARRIVALS):
            _ensure(paths, table)
    except OSError as error:
        raise LakeError(f"--lake {paths.root}: {error.strerror or error}") from error
    return paths


def _ensure(paths: LakePaths, table: Table) -> None:
    """Create a table, once more where it is not known whether it was created: an answer of S3 may be lost."""
    persistently(
        lambda: ensure(table, paths.table(table)),
        "lake create",
        lambda error: paths.remote and isinstance(error.__cause__, OSError | DeltaError),
    )


def keep_apart(landing: str, lake: str) -> None:
    """Refuse a lake inside its landing, whose tables would be taken for pictures, and the reverse.

    Parameters
    ----------
    landing, lake
        As a person gave them.

    Raises
    ------
    UsageError
        One contains the other.
    """
    there, here = _resolved(landing, "landing"), _resolved(lake, "lake")
    if f"{here}/".startswith(f"{there}/") or f"{there}/".startswith(f"{here}/"):
        raise UsageError(f"--lake {lake} and --landing {landing} contain one another: put them side by side")


def _resolved(place: str, setting: str) -> str:
    return spelled(place, setting) if access.scheme_of(place) else str(folder_of(place, setting).resolve()).rstrip("/")


def newest(rows: pa.Table) -> pa.Table:
    """Keep the row of each uri that wins; the newest row wins.

    Parameters
    ----------
    rows
        Any columns, among them `uri`, `landed_at`, `discovered_at`, `e_tag` and `attempt`; one featurizer's rows where
        there are several.

    Returns
    -------
    pyarrow.Table
        For each distinct uri the row with the greatest (landed_at, discovered_at, e_tag, attempt), in the given order.
    """
    order = pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in ("uri", *NEWEST_WINS)])
    uris = rows["uri"].take(order).to_numpy()
    winners = np.append(uris[:-1] != uris[1:], True)[: len(uris)]
    # Wide rows are not copied where nothing is superseded.
    return rows if winners.all() else rows.take(pa.array(np.sort(order.to_numpy()[winners])))


def below(folder: Place) -> list[Place]:
    """Return what lies right below a folder of a lake, by name; nothing where it is not there."""
    found: list[Place] = [*folder.iterdir()] if folder.is_dir() else []
    return sorted(found, key=lambda each: each.name)


def _visible(folder: Place) -> list[Place]:
    """Return what a half-made lake does not explain."""
    ours = {
        *(each.name for each in TABLES), "leases", "reports", "backbones",
        "checkpoints", "quarantine", "requests", "tombstones",
    }  # fmt: skip
    return [each for each in folder.iterdir() if each.name not in ours and not each.name.startswith(".")]
