"""A keeper holds one featurizer's query alive: compares its checkpoint, adopts, starts, follows, starts again."""

import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from deltalake.exceptions import DeltaError
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from conf import points
from conf.errors import LakeError, StorageError, StreamError, first_line
from conf.logs import fields, logger
from conf.retrying import Backoff
from streaming.audit import Audit
from streaming.clock import SetBack
from streaming.pipeline import Pipeline
from streaming.progress import MicroBatch, ProgressReader, stamp
from streaming.supervision import Fate, fate, telling_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql.streaming.query import StreamingQuery

_TICK = 0.2
# With no reason known, the checkpoint may be what fails; beyond the second number nothing that we know of helps.
_DISTRUST_AFTER, _TRIES = 3, 8
_MOST_CAUSES = 10
# Micro-batches after which the keeper looks whether their small files are worth merging.
_COMPACT_EVERY = 25
# Seconds by which the clock was set back, from which on a query is started again.
_SET_BACK = 5.0


class _Failed(Exception):
    """The query ended by itself; the text is Spark's own."""


class Keeper:
    """Holds one featurizer's query alive, on a thread of its own.

    Parameters
    ----------
    pipeline
        What is to be kept running.
    took
        Told each micro-batch, on the keeper's thread.
    once
        End when what has arrived is drained, and give up after a few tries.
    audit
        Holds arrivals against outcomes, on the keeper's thread.
    check
        Raises where this process must write no more; called before it does.
    tries_once
        The most tries in a row of a query that is to end once all is drained.
    backoff
        The waits between tries.
    wall
        The time of day, in seconds.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        took: Callable[[MicroBatch], None],
        *,
        once: bool = False,
        audit: Audit | None = None,
        check: Callable[[], None] = lambda: None,
        tries_once: int = 3,
        backoff: Backoff | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.featurizer = pipeline.featurizer
        self._pipeline = pipeline
        self._told_of = took
        self._once = once
        self._audit = audit or Audit(pipeline)
        self._check = check
        self._tries_once = tries_once
        self._backoff = backoff or Backoff()
        self._wall = wall
        self._halt, self._pausing, self._idle = Event(), Event(), Event()
        # Whether it has yet to look for what there is to do before it rests: pauses that follow one another closely
        # would else keep a query from ever coming to its first micro-batch.
        self._owed = Event()
        self._owed.set()
        self._distrust = ""
        self._batches = 0
        self._thread = Thread(target=self._run, name=f"keeper of {self.featurizer}", daemon=True)
        self.state = "starting"
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def halt(self) -> None:
        """Let the running micro-batch commit, then end."""
        self._halt.set()

    @property
    def alive(self) -> bool:
        """Whether it still keeps its query: not drained, not halted, not failed."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def pause(self) -> None:
        """Let the running micro-batch commit, or the first one since the last rest, then rest until `resume`."""
        self._idle.clear()
        self._pausing.set()

    def resume(self) -> None:
        """Go on after a pause, from a comparison of the checkpoint with the tables."""
        self._owed.set()
        self._pausing.clear()

    @property
    def at_rest(self) -> bool:
        """Whether a pause has taken effect: no query runs."""
        return self._idle.is_set() or not self.alive

    def _run(self) -> None:
        try:
            self._pipeline.enter_pool()
            while not self._halt.is_set():
                if self._rested_or_drained():
                    return
        except BaseException as error:  # the leg's own thread raises it again
            self.error = error
        finally:
            self.state = "stopped" if self.error is None else "failed"

    def _rested_or_drained(self) -> bool:
        while self._to_rest() and not self._halt.is_set():
            self.state = "paused"
            self._idle.set()
            self._halt.wait(_TICK)
        try:
            with _spark_failures():
                return not self._halt.is_set() and self._drained()
        except (_Failed, StorageError, LakeError) as failure:
            self._owed.clear()
            self._wait_after(failure)
            return False

    def _drained(self) -> bool:
        """Run the query until it ends; whether that is because everything is drained."""
        self.state = "starting"
        self._check()
        why = self._distrust or self._pipeline.fault()
        since = None
        if why:
            since = self._adopted(why)
            self._distrust = ""
            if since is None:
                return False
        ended = self._follow(self._pipeline.start(since))
        if not (ended and self._once) or self._interrupted():
            return False
        self._distrust = self._audit.of_drained()
        return not self._distrust

    def _adopted(self, why: str) -> int | None:
        """Complete what has no outcome; return the version to go on from, None where there was no time."""
        self.state = "adopting"
        self._pipeline.set_aside(why)
        points.reach("checkpoint-set-aside")
        gap = self._pipeline.gap()
        logger().warning(
            "the checkpoint is of no use: going on from what the tables say",
            extra=fields(featurizer=self.featurizer, why=why, missing=gap.rows.num_rows, doubled=gap.doubled),
        )
        filled = self._pipeline.fill(gap.rows, self._took, self._interrupted)
        if not filled:
            return None
        since = self._pipeline.version_after(gap.version)
        points.reach("adoption-complete")
        return since

    def _follow(self, query: "StreamingQuery") -> bool:
        """Keep an eye on the query until it ends, or must rest; whether it ended by itself."""
        self.state = "running"
        progress = ProgressReader(query)
        clock = SetBack(self._wall)
        resting = False
        try:
            while query.isActive and not self._interrupted():
                self._take(progress)
                # Asked once in each look: a report costs many calls into the JVM.
                reported_at = progress.reported_at
                if reported_at is not None:
                    self._owed.clear()
                resting = self._compacts_now() or self._set_back(clock.seconds(reported_at))
                if resting:
                    break
                self._compact()
                if not self._once:
                    self._distrust = self._audit.when_due()
                    if self._distrust:
                        break
                self._halt.wait(_TICK)
        except BaseException:
            # Nobody would stop it, and a second one would write beside it.
            with suppress(Exception):
                query.stop()
            raise
        _finish(query)
        self._owed.clear()
        self._take(progress)
        failure = query.exception()
        if failure is not None:
            raise _Failed(str(failure))
        self._compact()
        return not resting

    def _compacts_now(self) -> bool:
        return self._batches >= _COMPACT_EVERY and self._pipeline.compacts_at_rest

    def _set_back(self, seconds: float) -> bool:
        """Tell whether the clock was set back so far that it matters.

        Spark starts the next micro-batch at a time of day, and would wait until it comes again.
        """
        if seconds < _SET_BACK:
            return False
        told = fields(featurizer=self.featurizer, seconds=round(seconds))
        logger().warning("the clock was set back: the query is started again", extra=told)
        return True

    def _take(self, progress: ProgressReader) -> None:
        for batch in progress.fresh():
            self._took(batch)

    def _compact(self) -> None:
        if self._batches < _COMPACT_EVERY:
            return
        self._batches = 0
        self._check()
        try:
            merged = self._pipeline.compact()
        except StorageError as error:
            logger().warning("compaction failed and will be repeated", extra=fields(error=str(error)))
            return
        if merged:
            logger().info("compaction", extra=fields(featurizer=self.featurizer, merged=merged))

    def _took(self, batch: MicroBatch) -> None:
        self._backoff.reset()
        self._owed.clear()
        self._batches += 1
        self._told_of(batch)

    def _wait_after(self, failure: Exception) -> None:
        text = f"{type(failure).__name__}: {failure}"
        what, reason = fate(text), telling_line(str(failure))
        tries = self._backoff.tries + 1
        most = self._tries_once if self._once else None if what is Fate.WAIT else _TRIES
        if what is Fate.END or (most is not None and tries >= most):
            after = f" {tries} times" if tries > 1 else ""
            raise StreamError(f"the query failed{after}: {reason}; the next run goes on where it was")
        if what is Fate.TRY and tries == _DISTRUST_AFTER:
            self._distrust = f"its query failed {tries} times: {reason}"
        seconds = self._backoff.next()
        logger().warning(
            "the query failed and will be started again",
            extra=fields(featurizer=self.featurizer, reason=reason, tries=tries, seconds=round(seconds, 1)),
        )
        self.state = f"waiting after: {reason}"
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._interrupted():
            self._halt.wait(min(_TICK, seconds))

    def _interrupted(self) -> bool:
        return self._halt.is_set() or self._to_rest()

    def _to_rest(self) -> bool:
        return self._pausing.is_set() and not self._owed.is_set()


@contextmanager
def _spark_failures() -> "Iterator[None]":
    """Turn what Spark raises into `_Failed`; a JVM that is gone stays what it is, and ends the run."""
    try:
        yield
    except PySparkException as error:
        # str(error) would ask the JVM, which may be broken.
        raise _Failed(getattr(error, "_desc", None) or str(error)) from error
    except Py4JJavaError as error:
        raise _Failed(_described(error.java_exception)) from error
    except DeltaError as error:
        raise _Failed(str(error)) from error
    except OSError as error:
        # Of delta-rs, or of a small file of the lake.
        raise StorageError(f"the lake does not answer: {first_line(error)}") from error


def _described(error: Any) -> str:
    """Return what a Java exception and its causes say."""
    lines: list[str] = []
    while error is not None and len(lines) < _MOST_CAUSES:
        lines.append(str(error.toString()))
        error = error.getCause()
    return "\n".join(lines)


def _finish(query: "StreamingQuery") -> None:
    """Let the running micro-batch commit, then stop the query; a batch that begins meanwhile is planned again later."""
    before = stamp(query)
    while query.isActive and query.status["isTriggerActive"] and stamp(query) == before:
        time.sleep(_TICK / 2)
    query.stop()
