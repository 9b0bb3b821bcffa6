"""The keepers of a run, one for each featurizer, started, paused and halted together."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from streaming.keeper import Keeper

_TICK = 0.1


class Crew:
    """All keepers of a run.

    Parameters
    ----------
    keepers
        One for each featurizer.
    """

    def __init__(self, keepers: Sequence[Keeper]) -> None:
        self._keepers = keepers

    @property
    def at_work(self) -> bool:
        """Whether any keeper is: not all are drained, and none has failed."""
        return self.running and not any(each.error for each in self._keepers)

    @property
    def running(self) -> bool:
        """Whether any keeper still lives: its query may write, whatever became of the others."""
        return any(each.alive for each in self._keepers)

    def states(self) -> dict[str, str]:
        """Return what each query is doing, by featurizer."""
        return {each.featurizer: each.state for each in self._keepers}

    @contextmanager
    def working(self) -> Iterator["Crew"]:
        """Keep the queries for the length of a `with` block; at its end let running micro-batches commit.

        Raises
        ------
        StreamError, PlatformError
            What ended one of them.
        """
        for each in self._keepers:
            each.start()
        try:
            yield self
        finally:
            for each in self._keepers:
                each.halt()
            for each in self._keepers:
                each.join()
        for each in self._keepers:
            if each.error is not None:
                raise each.error

    @contextmanager
    def paused(self, beat: Callable[[], None]) -> Iterator[None]:
        """Let no query run for the length of a `with` block; `beat` is called while their micro-batches end."""
        for each in self._keepers:
            each.pause()
        try:
            while not all(each.at_rest for each in self._keepers):
                beat()
                time.sleep(_TICK)
            yield
        finally:
            for each in self._keepers:
                each.resume()
