"""What a worker does with its share of a micro-batch: fetch, decode, infer; record batches in, record batches out."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from conf.errors import Rejected
from conf.rejections import Reason
from conf.retrying import RETRIED
from conf.schemas import FEATURES
from conf.storage import Storage
from streaming.backbones.backbone import Backbone
from streaming.backbones.runtime import Infers, RuntimeKind, runtime_for
from streaming.decode import decode, room_for
from streaming.fetching import Fetcher, Wanted
from streaming.isolate import Decoder, IsolatedDecoder, bounded
from streaming.landing import labeller

# The columns of `arrivals` that a worker needs; the first five go through to `features` as they are.
INPUT = ("uri", "e_tag", "landed_at", "discovered_at", "attempt", "size")
_PASSED_ON = INPUT[:5]
_ROWS_OUT = 128
_BYTES_OUT = 8 << 20
# Spark takes a worker that is silent for long for one that hangs.
_LONGEST_SILENCE = 5.0


class Fence(Protocol):
    """What knows whether the driver of this task still owns the lake."""

    def check(self) -> None:
        """Raise where it does not."""


class Sum(Protocol):
    """What adds up what the tasks tell; Spark's accumulator is one."""

    def add(self, term: int) -> None:
        """Add a term."""


@dataclass(frozen=True)
class Work:
    """Everything a worker must know, small enough to travel with each task.

    Attributes
    ----------
    backbone : Backbone
        How bytes become the input, and whose id goes into the rows.
    width : int
        Length of its vectors.
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
    runtime : {"litert", "tensorflow"}
        What runs the model.
    decode : Decoder
        Makes pixels of bytes; a function of a module, as it goes to other processes by its name.
    decode_seconds : float
        The longest that one picture may take in a process of its own.
    fence : Fence | None
        Checked before the first row and after the last.
    retried : Sum | None
        Is told how many fetches were tried again, when the task ends.
    """

    backbone: Backbone
    width: int
    model: str
    storage: Storage
    landing: str
    label: str
    pixel_limit: int
    byte_limit: int
    runtime: RuntimeKind = "litert"
    decode: Decoder = decode
    decode_seconds: float = 30.0
    fence: Fence | None = None
    retried: Sum | None = None

    @property
    def decode_bytes(self) -> int:
        """The most memory that decoding a picture within the pixel limit can honestly take."""
        return room_for(self.pixel_limit)


@dataclass
class _Outcome:
    """What became of one picture: a vector or a rejection, and what was learnt on the way."""

    label: str | None
    sha256: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    pixels: NDArray[np.uint8] | None = None
    vector: NDArray[np.float32] | None = None
    rejection: Rejected | None = None
    featurized_at: datetime | None = None


@dataclass(frozen=True)
class _Tools:
    """What a task works with."""

    work: Work
    fetcher: Fetcher
    decode: Decoder
    runtime: Infers
    label: Callable[[str], str | None]
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]


def featurize(
    batches: Iterator[pa.RecordBatch],
    work: Work,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    monotonic: Callable[[], float] = time.monotonic,
    isolated: bool | None = None,
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
    monotonic
        Seconds since any moment, for the pace of the output.
    isolated
        Whether decoding has a process of its own; None: when Spark runs the task for another time.

    Yields
    ------
    pyarrow.RecordBatch
        Rows of the features table's schema, each a vector or a rejection: 128 at most, and fewer where they take longer
        than five seconds.

    Raises
    ------
    StorageError, IsolationError
        The world's fault; the task fails and Spark runs it again.
    MemoryError
        No room to decode a picture, for which it need not be to blame; the next run, isolated, tells.
    """
    with _owned(work), _counted(work):
        runtime = runtime_for(Path(work.model), work.backbone, work.width, work.runtime)
        label = labeller(work.label, work.landing)
        apart = _decoder(work, _is_retry() if isolated is None else isolated)
        with apart as decoder, Fetcher(work.storage, work.byte_limit) as fetcher:
            tools = _Tools(work, fetcher, decoder, runtime, label, clock, monotonic)
            for batch in batches:
                yield from _rows(batch, tools)


def _rows(batch: pa.RecordBatch, tools: _Tools) -> Iterator[pa.RecordBatch]:
    wanted = map(Wanted, *(batch.column(name).to_pylist() for name in Wanted._fields))
    start = 0
    for outcomes in _outcomes(wanted, tools):
        yield _assembled(batch.slice(start, len(outcomes)), outcomes, tools.work.backbone.featurizer)
        start += len(outcomes)


@contextmanager
def _owned(work: Work) -> Iterator[None]:
    """Check the fence on both sides; what was cut off in between fails by itself."""
    if work.fence is not None:
        work.fence.check()
    yield
    if work.fence is not None:
        work.fence.check()


@contextmanager
def _counted(work: Work) -> Iterator[None]:
    RETRIED.taken()
    try:
        yield
    finally:
        if work.retried is not None:
            work.retried.add(sum(RETRIED.taken().values()))


def _is_retry() -> bool:
    from pyspark import TaskContext

    task = TaskContext.get()
    return task is not None and task.attemptNumber() > 0


def _decoder(work: Work, isolated: bool) -> AbstractContextManager[Decoder]:
    if isolated:
        return IsolatedDecoder(work.decode, work.decode_seconds, work.decode_bytes)
    return nullcontext(bounded(work.decode, work.decode_bytes))


def _outcomes(pictures: Iterable[Wanted], tools: _Tools) -> Iterator[list[_Outcome]]:
    """Yield the outcomes in order, as many at a time as may go out together; inferred as many as the runtime likes."""
    rows_out = max(1, min(_ROWS_OUT, _BYTES_OUT // (4 * tools.work.width)))
    outcomes: list[_Outcome] = []
    waiting: list[_Outcome] = []
    spoke = tools.monotonic()
    for wanted, content in tools.fetcher.fetched(pictures):
        outcome = _decoded(wanted.uri, content, tools)
        outcomes.append(outcome)
        if outcome.pixels is not None:
            waiting.append(outcome)
        due = len(outcomes) == rows_out or tools.monotonic() - spoke >= _LONGEST_SILENCE
        if due or len(waiting) == tools.runtime.batch:
            _infer(waiting, tools)
            waiting = []
        if due:
            yield outcomes
            outcomes = []
            spoke = tools.monotonic()
    _infer(waiting, tools)
    if outcomes:
        yield outcomes


def _decoded(uri: str, content: bytes | Rejected, tools: _Tools) -> _Outcome:
    outcome = _Outcome(tools.label(uri))
    try:
        if isinstance(content, Rejected):
            raise content
        outcome.sha256 = hashlib.sha256(content).hexdigest()
        picture = tools.decode(content, tools.work.backbone.preparation, tools.work.pixel_limit)
        outcome.format, outcome.width, outcome.height = picture.format, picture.width, picture.height
        outcome.pixels = picture.pixels
    except Rejected as rejection:
        outcome.rejection = rejection
    outcome.featurized_at = tools.clock()
    return outcome


def _infer(waiting: list[_Outcome], tools: _Tools) -> None:
    """Turn the pixels of outcomes into vectors."""
    pictures = [each.pixels for each in waiting if each.pixels is not None]
    vectors = tools.runtime.vectors(pictures) if pictures else []
    for outcome, vector in zip(waiting, vectors, strict=True):
        try:
            outcome.vector = _finite(vector)
        except Rejected as rejection:
            outcome.rejection = rejection
        outcome.pixels = None
        outcome.featurized_at = tools.clock()


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
