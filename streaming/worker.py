"""What a worker does with its share of a micro-batch: fetch, decode, infer; record batches in, record batches out."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from conf.errors import Rejected
from conf.rejections import Reason
from conf.storage import Storage
from conf.tables import FEATURES
from streaming.backbones import Backbone
from streaming.decode import decode
from streaming.landing import labeller
from streaming.runtime import runtime_for

# The columns of `arrivals` that a worker needs; the first five go through to `features` as they are.
INPUT = ("uri", "e_tag", "landed_at", "discovered_at", "attempt", "size")
_PASSED_ON = INPUT[:5]
_ROWS_OUT = 128
_BYTES_OUT = 8 << 20


@dataclass(frozen=True)
class Work:
    """Everything a worker must know, small enough to travel with each task.

    Attributes
    ----------
    backbone : Backbone
        How bytes become the input, and whose id goes into the rows.
    model : str
        Path of the compiled backbone on the worker.
    storage : Storage
        Reads the landing.
    landing : str
        URI of the landing.
    label : str
        The label rule; see `streaming.landing.labeller`.
    pixel_limit, byte_limit : int
        Over them a picture is rejected.
    """

    backbone: Backbone
    model: str
    storage: Storage
    landing: str
    label: str
    pixel_limit: int
    byte_limit: int


@dataclass
class _Outcome:
    """What became of one picture: a vector or a rejection, and what was learnt on the way."""

    label: str | None
    featurized_at: datetime
    sha256: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    vector: NDArray[np.float32] | None = None
    rejection: Rejected | None = None


def featurize(
    batches: Iterator[pa.RecordBatch], work: Work, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[pa.RecordBatch]:
    """Turn arrivals into rows of `features`, one each, in their order.

    Parameters
    ----------
    batches
        Record batches with the columns `INPUT`, of any number of rows.
    work
        The task's constants.
    clock
        The current time, for `featurized_at`.

    Yields
    ------
    pyarrow.RecordBatch
        Rows of the features table's schema, at most 128 each: a vector or a rejection.

    Raises
    ------
    StorageError
        The world's fault; the task fails and Spark runs it again.
    """
    infer = runtime_for(Path(work.model), work.backbone)
    label = labeller(work.label, work.landing)
    featurizer = work.backbone.featurizer

    def outcome(uri: str, e_tag: str, size: int) -> _Outcome:
        result = _Outcome(label(uri), clock())
        try:
            data = _fetched(work, uri, e_tag, size)
            result.sha256 = hashlib.sha256(data).hexdigest()
            picture = decode(data, work.backbone.preparation, work.pixel_limit)
            result.format, result.width, result.height = picture.format, picture.width, picture.height
            result.vector = _finite(infer(picture.pixels))
        except Rejected as rejection:
            result.rejection = rejection
        result.featurized_at = clock()
        return result

    rows_out = max(1, min(_ROWS_OUT, _BYTES_OUT // (4 * work.backbone.width)))
    for batch in batches:
        for start in range(0, batch.num_rows, rows_out):
            rows = batch.slice(start, rows_out)
            columns = [rows.column(name).to_pylist() for name in ("uri", "e_tag", "size")]
            yield _assembled(rows, [outcome(*row) for row in zip(*columns, strict=True)], featurizer)


def _fetched(work: Work, uri: str, e_tag: str, size: int) -> bytes:
    if size > work.byte_limit:
        raise Rejected(Reason.TOO_MANY_BYTES, f"{size} bytes, the limit is {work.byte_limit}")
    return work.storage.read(uri, e_tag, work.byte_limit)


def _finite(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(vector).all():
        raise Rejected(Reason.NON_FINITE, f"{int((~np.isfinite(vector)).sum())} of {vector.size} values are not finite")
    return vector


def _assembled(rows: pa.RecordBatch, outcomes: list[_Outcome], featurizer: str) -> pa.RecordBatch:
    rejections = [each.rejection for each in outcomes]
    columns = {
        **{name: rows.column(name) for name in _PASSED_ON},
        "label": [each.label for each in outcomes],
        "sha256": [each.sha256 for each in outcomes],
        "format": [each.format for each in outcomes],
        "width": [each.width for each in outcomes],
        "height": [each.height for each in outcomes],
        "featurizer": [featurizer] * len(outcomes),
        "features": _lists([each.vector for each in outcomes]),
        "rejection": [each and each.reason.value for each in rejections],
        "detail": [each and each.detail for each in rejections],
        "featurized_at": [each.featurized_at for each in outcomes],
    }
    arrays = [
        columns[field.name] if isinstance(columns[field.name], pa.Array) else pa.array(columns[field.name], field.type)
        for field in FEATURES.schema
    ]
    return pa.RecordBatch.from_arrays(arrays, names=FEATURES.schema.names)


def _lists(vectors: list[NDArray[np.float32] | None]) -> pa.Array:
    """Return the vectors as one list array of float32, null where there is none, without a Python float in between."""
    present = [each for each in vectors if each is not None]
    values = np.concatenate(present) if present else np.empty(0, np.float32)
    lengths = np.array([0 if each is None else each.size for each in vectors], dtype=np.int32)
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(lengths, dtype=np.int32)])
    missing = pa.array([each is None for each in vectors], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, pa.float32()), mask=missing)
