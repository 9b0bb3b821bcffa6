"""The audit: arrivals are held against outcomes, from time to time beside a query, and where a drain leaves too few."""

import time
from collections.abc import Callable

from deltalake.exceptions import DeltaError

from conf.errors import LakeError, StorageError, StreamError, first_line
from conf.logs import fields, logger
from streaming.checkpoints import BrokenCheckpoint
from streaming.pipeline import Pipeline

# Seconds until an audit that could not read the tables is tried again.
_AGAIN = 600.0


class Audit:
    """Finds whether each arrival that a query has dealt with has its outcome.

    What it finds is said as the reason to distrust the query's checkpoint; empty where there is none.

    Parameters
    ----------
    pipeline
        Whose tables they are.
    every
        Seconds between two audits.
    first_in
        Seconds until the first one; None: as between two.
    told
        Told after each, on the caller's thread.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        every: float = 86400.0,
        first_in: float | None = None,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._pipeline, self._every, self._told = pipeline, every, told
        self._next = time.monotonic() + (every if first_in is None else first_in)
        # Whether a drain has already been told of what it left without an outcome.
        self._completing = False

    def when_due(self) -> str:
        """Audit, if it is time; what cannot be read now is read later."""
        if time.monotonic() < self._next:
            return ""
        try:
            return self._reason()
        except (StorageError, LakeError, DeltaError, OSError) as error:
            self._next = time.monotonic() + min(self._every, _AGAIN)
            logger().warning("the audit failed and will be repeated", extra=fields(error=first_line(error)))
            return ""

    def of_drained(self) -> str:
        """Audit what a drained query leaves, where rows, which are counted first, tell that something is missing.

        Raises
        ------
        StreamError
            Something is still missing, after it was made.
        """
        why = self._reason() if self._pipeline.lacking() > 0 else ""
        if why and self._completing:
            raise StreamError(f"{why}, though it was made before: see the log, and tell us")
        self._completing = bool(why)
        return why

    def _reason(self) -> str:
        try:
            gap = self._pipeline.gap_behind()
        except BrokenCheckpoint as broken:
            return str(broken)
        if gap is None:
            return ""
        self._next = time.monotonic() + self._every
        self._told()
        missing, featurizer = gap.rows.num_rows, self._pipeline.featurizer
        found = fields(featurizer=featurizer, version=gap.version, missing=missing, doubled=gap.doubled)
        if missing or gap.doubled:
            logger().error("the audit found arrivals without an outcome, or with two", extra=found)
        else:
            logger().info("audit: each arrival has one outcome", extra=found)
        return f"the audit found {missing:,} arrivals without an outcome" if missing else ""
