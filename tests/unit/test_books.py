import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conf.errors import LeaseLost, StorageError, StreamError
from streaming.backbones.featurizer import Featurizer
from streaming.books import Books
from streaming.progress import MicroBatch
from streaming.totals import Former, ReportFile, former
from tests.unit.lakes import ONE, Orchard

BATCH = MicroBatch(3, 100, {"gone": 1}, 2.0, 0.5, 0.9)


class Run:
    """A run whose state a test sets."""

    def __init__(self, root: Path) -> None:
        self.orchard = Orchard(root / "lake")
        self.path = root / "stream.json"
        self.state = "running"
        self.arrived: Callable[[], int] = lambda: 200

    def books(self, before: Former | None = None) -> Books:
        """Open the books."""
        manifest = SimpleNamespace(seconds_per_picture=0.01)
        featurizer = cast(Featurizer, SimpleNamespace(id=ONE, manifest=manifest))
        return Books(
            self.orchard.paths,
            [featurizer],
            2,
            before or Former(),
            0,
            ReportFile(self.path, {}),
            report=lambda totals: None,
            arrived=lambda: self.arrived(),
            states=lambda: {ONE: self.state},
        )

    def said(self) -> dict[str, Any]:
        """Read what the report says of the featurizer."""
        found: dict[str, Any] = json.loads(self.path.read_text("utf-8"))["featurizers"][ONE]
        return found


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Give a run on an empty lake."""
    return Run(tmp_path)


def well() -> None:
    """Hold the lease."""


def test_the_last_word_is_how_the_run_ended(run: Run) -> None:
    """With what came in since the report before."""
    books = run.books()
    with books.kept(well):
        books.put(ONE, BATCH)
        books.take()
        run.state = "stopped"
    assert (run.said()["state"], run.said()["backlog"]) == ("stopped", 100)


def test_a_query_that_ends_the_run_has_the_last_word(run: Run) -> None:
    """So that the status knows of it at once, not only when nobody has streamed for long."""
    run.state = "failed"
    with pytest.raises(StreamError), run.books().kept(well):
        raise StreamError("the query failed")
    assert run.said()["state"] == "failed"


def test_what_keeps_a_run_from_starting_says_nothing(run: Run) -> None:
    """A run that is tried again and again would make the report look young."""
    with pytest.raises(StorageError), run.books().kept(well):
        raise StorageError("the landing does not answer")
    assert not run.path.exists()


def test_a_driver_that_lost_its_lease_leaves_the_word_to_the_next_one(run: Run) -> None:
    """The error that ended the run is what is raised."""

    def lost() -> None:
        raise LeaseLost("another driver has it")

    with pytest.raises(StreamError, match="the query failed"), run.books().kept(lost):
        raise StreamError("the query failed")
    assert not run.path.exists()


def test_the_next_run_remembers_what_the_last_one_did(run: Run) -> None:
    """Its micro-batches and its backlog, for who asks before there are new ones."""
    books = run.books()
    with books.kept(well):
        books.put(ONE, BATCH)
        books.take()
    first = run.said()
    assert [each["pictures"] for each in first["micro_batches"]] == [100]
    with run.books(former(run.path, telling=64)).kept(well):
        pass
    second = run.said()
    assert second["last_micro_batch"] is None
    assert second["micro_batches"] == first["micro_batches"]
    assert second["backlog_history"][: len(first["backlog_history"])] == first["backlog_history"]


def test_arrivals_that_cannot_be_counted_end_nothing(run: Run) -> None:
    """The number that was known last stands."""
    books = run.books()
    books.tell()

    def unreadable() -> int:
        raise StorageError("the table cannot be read")

    run.arrived = unreadable
    books.tell()
    assert books.totals.landed == 200
