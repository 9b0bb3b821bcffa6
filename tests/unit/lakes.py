"""A lake that tests fill row by row, through delta-rs, and read back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from conf.lake import create_lake
from conf.schemas import ARRIVALS, FEATURES, Table
from tests.places import local

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
ONE, OTHER = "efficientnet-lite0-224-avg-aaaaaaaa", "mobilenet-v2-224-avg-bbbbbbbb"


def seconds(number: int) -> datetime:
    """Give a moment some seconds after the morning."""
    return MORNING + timedelta(seconds=number)


class Orchard:
    """A lake that a test fills row by row; what a row leaves out is as usual."""

    def __init__(self, root: Path) -> None:
        self.paths = create_lake(str(root))
        self.root = root

    def arrive(self, *uris: str, **row: Any) -> None:
        """Append arrivals in one commit."""
        usual = {
            "e_tag": "1-1",
            "landed_at": MORNING,
            "size": 1,
            "discovered_at": MORNING,
            "attempt": 1,
            "route": "listing",
        }
        self._append(ARRIVALS, [usual | {"uri": uri} | row for uri in uris])

    def outcome(self, *rows: dict[str, Any], featurizer: str = ONE) -> None:
        """Append outcomes in one commit."""
        usual = {
            "e_tag": "1-1",
            "landed_at": MORNING,
            "discovered_at": MORNING,
            "attempt": 1,
            "featurizer": featurizer,
            "featurized_at": MORNING,
        }
        filled = [usual | ({} if "rejection" in row else {"features": [1.0, 2.0]}) | row for row in rows]
        self._append(FEATURES, filled)

    def featurize(self, *uris: str, featurizer: str = ONE) -> None:
        """Let pictures arrive and give each its features."""
        self.arrive(*uris)
        self.outcome(*({"uri": uri} for uri in uris), featurizer=featurizer)

    def reject(self, reason: str, *uris: str, featurizer: str = ONE) -> None:
        """Let pictures arrive and reject each."""
        self.arrive(*uris)
        self.outcome(*({"uri": uri, "rejection": reason} for uri in uris), featurizer=featurizer)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """Read a table, by uri and attempt."""
        found: list[dict[str, Any]] = DeltaTable(self.paths.table(table)).to_pyarrow_table().to_pylist()
        return sorted(found, key=lambda row: (row.get("uri", ""), row.get("attempt", 1), row.get("featurizer", "")))

    def uris(self, table: Table) -> list[str]:
        """Read the uris of a table, sorted."""
        return [row["uri"] for row in self.rows(table)]

    def version(self, table: Table) -> int:
        """Give a table's version."""
        return DeltaTable(self.paths.table(table)).version()

    def checkpoint(self, featurizer: str) -> Path:
        """Make what stands for a checkpoint."""
        folder = local(self.paths.checkpoint(featurizer))
        folder.mkdir(parents=True)
        (folder / "metadata").write_text("{}")
        return folder

    def _append(self, table: Table, rows: list[dict[str, Any]]) -> None:
        write_deltalake(self.paths.table(table), pa.Table.from_pylist(rows, table.schema), mode="append")
