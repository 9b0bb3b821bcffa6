"""What lies where under a lake's root, what makes a folder a lake, and which row of a uri is the newest."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.errors import LakeError, UsageError
from conf.tables import ARRIVALS, FEATURES, NEWEST_WINS, TABLES, Table, ensure
from conf.uris import folder_of

# Spark takes some of these for patterns, delta-rs fails at others in a path.
_AWKWARD = frozenset("[]{}|^%#?*\\`")


@dataclass(frozen=True)
class LakePaths:
    """The places of one lake."""

    root: Path

    def table(self, table: Table) -> str:
        """Return where a table lies."""
        return str(self.root / table.name)

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints of all queries lie, one folder per featurizer."""
        return self.root / "checkpoints"

    def checkpoint(self, featurizer: str) -> Path:
        """Return the checkpoint of the query that writes one featurizer's features."""
        return self.checkpoints / featurizer

    @property
    def quarantine(self) -> Path:
        """Where checkpoints go that no longer match the tables; upkeep deletes them later."""
        return self.root / "quarantine"

    @property
    def requests(self) -> Path:
        """Where commands leave what the driver is to do, and find its answers."""
        return self.root / "requests"

    @property
    def tombstones(self) -> Path:
        """Where takedowns are remembered, so that a forgotten picture does not arrive again."""
        return self.root / "tombstones"

    @property
    def backbones(self) -> Path:
        """Where compiled backbones and their manifests lie."""
        return self.root / "backbones"

    def lease(self, leg: str) -> Path:
        """Return the file whose lock makes a process the one driver of a leg (`stream` or `refit`)."""
        return self.root / "leases" / leg

    def report(self, leg: str) -> Path:
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


def _root(place: str) -> Path:
    root = folder_of(place, "lake")
    awkward = sorted(_AWKWARD.intersection(str(root)))
    if awkward or not str(root).isprintable():
        what = f"holds {' '.join(awkward)}" if awkward else "is not of printable characters, in UTF-8"
        raise UsageError(f"--lake {str(root)!r}: the path {what}, which not every reader of Delta tables takes")
    return root


def open_lake(place: str) -> LakePaths:
    """Return the paths of an existing lake.

    Raises
    ------
    LakeError
        There is nothing at `place`, or what is there is no lake.
    """
    paths = LakePaths(_root(place))
    if paths.exists:
        return paths
    if not paths.root.exists():
        raise LakeError(f"no lake at {paths.root}: `verger stream --landing FOLDER --lake {paths.root}` makes one")
    raise LakeError(f"{paths.root} is not a lake: it holds no table named {paths.missing[0]}")


def create_lake(place: str) -> LakePaths:
    """Return the paths of the lake at `place`, creating its tables or bringing them to this version's columns.

    Raises
    ------
    LakeError
        `place` holds something else, cannot be written, or was written by a newer Verger.
    """
    paths = LakePaths(_root(place))
    try:
        if not paths.exists and paths.root.exists() and any(_visible(paths.root)):
            raise LakeError(f"{paths.root} is not empty and is not a lake: give --lake a new or empty folder")
        paths.root.mkdir(parents=True, exist_ok=True)
        # Arrivals last: it is what makes the folder a lake.
        for table in (FEATURES, ARRIVALS):
            ensure(table, paths.table(table))
    except OSError as error:
        raise LakeError(f"--lake {paths.root}: {error.strerror or error}") from error
    return paths


def keep_apart(landing: Path, lake: Path) -> None:
    """Refuse a lake inside its landing, whose tables would be taken for pictures, and the reverse.

    Raises
    ------
    UsageError
        One contains the other.
    """
    there, here = landing.resolve(), lake.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise UsageError(f"--lake {lake} and --landing {landing} contain one another: put them side by side")


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


def _visible(folder: Path) -> list[Path]:
    """Return what a half-made lake does not explain."""
    ours = {
        *(each.name for each in TABLES), "leases", "reports", "backbones",
        "checkpoints", "quarantine", "requests", "tombstones",
    }  # fmt: skip
    return [each for each in folder.iterdir() if each.name not in ours and not each.name.startswith(".")]
