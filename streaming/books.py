"""The books of a run: what its micro-batches did, told to whoever watches it, to the log, and to the lake."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from queue import SimpleQueue

from conf.errors import LeaseLost, StorageError, StreamError
from conf.lake import LakePaths
from conf.logs import fields, logger
from conf.retrying import RETRIED
from conf.schemas import FEATURES
from conf.tables import count_rows
from streaming import sizing
from streaming.backbones.featurizer import Featurizer
from streaming.progress import MicroBatch, described
from streaming.recent import Recent
from streaming.totals import Former, ReportFile, Standing, Totals

Report = Callable[[Totals], None]


class Books:
    """Where a run stands, kept by its own thread; keepers of queries only put what they have finished.

    Parameters
    ----------
    lake
        Whose outcomes are counted.
    featurizers
        That are streamed.
    cores
        Of all workers, for a first guess of the rates.
    before
        What an earlier run has left.
    asked_rows
        Pictures that a micro-batch is to take; 0: by the measured rate.
    file
        In which the lake tells of the run.
    report
        Called with the totals whenever they change.
    arrived
        Returns how many rows arrivals has.
    states
        Returns what each query is doing, by featurizer.
    """

    def __init__(
        self,
        lake: LakePaths,
        featurizers: Sequence[Featurizer],
        cores: int,
        before: Former,
        asked_rows: int,
        file: ReportFile,
        report: Report,
        arrived: Callable[[], int],
        states: Callable[[], Mapping[str, str]],
    ) -> None:
        self._lake = lake
        self._asked_rows = asked_rows
        self._file = file
        self._report = report
        self._arrived = arrived
        self._states = states
        self._finished: SimpleQueue[tuple[str, MicroBatch]] = SimpleQueue()
        self._fetched_again = 0
        standings = {each.id: _standing(each, before, cores / len(featurizers)) for each in featurizers}
        self.totals = Totals(featurizers=standings, upkeep_at=before.upkeep_at)
        self.count()

    def put(self, featurizer: str, batch: MicroBatch) -> None:
        """Leave a finished micro-batch, from any thread."""
        self._finished.put((featurizer, batch))

    def take(self) -> None:
        """Enter what has been left."""
        while not self._finished.empty():
            name, batch = self._finished.get()
            self.totals.add(name, batch, sizing.TELLING_ROWS)
            self.tell()
            logger().info(
                "micro-batch",
                extra=fields(
                    featurizer=name,
                    **described(batch),
                    backlog=self.totals.backlog,
                    seconds_left=round(self.totals.seconds_left),
                ),
            )

    def count(self) -> None:
        """Take the number of outcomes from the table's log."""
        for name, standing in self.totals.featurizers.items():
            standing.outcomes = count_rows(self._lake.table(FEATURES), featurizer=name)

    def rows_of(self, featurizer: str) -> int:
        """Return the pictures of a full micro-batch of one featurizer."""
        return sizing.rows(self.totals.featurizers[featurizer].rate, self._asked_rows)

    def rows_per_file(self) -> int:
        """Return the most arrivals in a file: what the slowest takes, as a micro-batch takes whole files."""
        return min(self.rows_of(name) for name in self.totals.featurizers)

    def tell(self) -> None:
        """Report where the run stands."""
        self._look()
        self._report(self.totals)
        self._file.write(self.totals)

    def tell_of_retries(self, fetched_again: int) -> None:
        """Log how many calls to object stores were made again since this was last told.

        Parameters
        ----------
        fetched_again
            By the workers, since the start.
        """
        counts = dict(RETRIED.taken())
        if fetched_again > self._fetched_again:
            counts["fetch"] = counts.get("fetch", 0) + fetched_again - self._fetched_again
            self._fetched_again = fetched_again
        if counts:
            logger().info("calls were made again", extra=fields(**counts))

    @contextmanager
    def kept(self, check: Callable[[], None]) -> Iterator[None]:
        """Leave the last word in the lake, for `verger status`, at the end of a `with` block or as a query fails in it.

        Parameters
        ----------
        check
            Raises where the lake may be another's, who then has the word.
        """
        try:
            yield
        except StreamError:
            with suppress(LeaseLost):
                check()
                self._close()
            raise
        self._close()

    def _close(self) -> None:
        self._look()
        self._file.write(self.totals, now=True)

    def _look(self) -> None:
        # While the table cannot be read, the number last known stands.
        with suppress(StorageError):
            self.totals.landed = self._arrived()
        for name, state in self._states().items():
            self.totals.featurizers[name].state = state
        self.totals.remember(datetime.now(UTC))


def now() -> str:
    """Return the time as the books hold it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _standing(featurizer: Featurizer, before: Former, cores: float) -> Standing:
    # What the last run measured; the first one goes by the backbone alone, decoding left out.
    rate = before.rates.get(featurizer.id) or cores / featurizer.manifest.seconds_per_picture
    return Standing(
        rate=rate,
        audited_at=before.audits.get(featurizer.id) or now(),
        recent=before.recent.get(featurizer.id) or Recent(),
    )
