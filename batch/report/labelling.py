"""Whose labels a report goes by: those of the label rule, or the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa


class Labels(Protocol):
    """Labels by uri, as of a file of the user's."""

    @property
    def name(self) -> str:
        """Where they come from, for a person."""

    def of(self, uris: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Return the label of each uri, as strings; null where there is none."""


def relabelled(batches: Iterator[pa.RecordBatch], labels: Labels | None) -> Iterator[pa.RecordBatch]:
    """Yield batches with `uri` and `label`, with other labels where these are given; they replace every one."""
    for batch in batches:
        if labels is None:
            yield batch
        else:
            place = batch.schema.get_field_index("label")
            own = labels.of(batch.column("uri")).cast(pa.string())
            yield batch.set_column(place, pa.field("label", pa.string()), own)
