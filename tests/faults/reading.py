"""The independent reader: the lake's tables through delta-rs, and nothing of Verger's own."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, PyFileSystem

IDENTITY = ("uri", "e_tag", "landed_at", "attempt")


@dataclass(frozen=True)
class Tables:
    """The tables of one lake.

    Attributes
    ----------
    lake : str
        A folder, or s3://BUCKET/PREFIX.
    options : Mapping[str, str]
        How delta-rs finds the object store.
    """

    lake: str
    options: Mapping[str, str]

    def open(self, name: str) -> DeltaTable:
        """Open a table."""
        return DeltaTable(f"{self.lake}/{name}", storage_options=self._how)

    def read(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Read columns of a table, which may not be there yet: then no rows."""
        try:
            return self.open(name).to_pyarrow_table(columns=list(columns))
        except TableNotFoundError:
            return pa.table({each: [] for each in columns})

    def commits(self, name: str) -> Iterator[list[dict[str, Any]]]:
        """Yield the actions of each commit of a table, oldest first, as its log holds them."""
        if not DeltaTable.is_deltatable(f"{self.lake}/{name}", self._how):
            return
        files = PyFileSystem(DeltaStorageHandler(f"{self.lake}/{name}", self._how))
        entries = files.get_file_info(FileSelector("_delta_log", allow_not_found=True))
        for path in sorted(each.path for each in entries if each.path.endswith(".json")):
            with files.open_input_file(path) as file:
                yield [json.loads(line) for line in file.read().splitlines()]

    def rows(self, name: str) -> int:
        """Count the rows of a table by its log."""
        try:
            return sum(pa.table(self.open(name).get_add_actions(flatten=True))["num_records"].to_pylist())
        except TableNotFoundError:
            return 0

    @property
    def _how(self) -> dict[str, str] | None:
        return {**self.options, "allow_http": "true"} if self.options else None
