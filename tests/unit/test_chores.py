"""What the driver does beside its queries."""

from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conf import lease
from conf.errors import StorageError
from conf.lake import create_lake
from conf.schemas import ARRIVALS
from conf.settings import Settings
from streaming import chores
from streaming.arrivals import Arrivals
from streaming.books import Books
from streaming.commands import inbox, requests
from streaming.commands.execution import LEG


def test_a_request_that_cannot_be_done_keeps_nobody_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits, as the store may let it pass later; the stop that was asked for after it is carried out."""

    def refuse(*given: Any, **more: Any) -> None:
        raise StorageError("the store refuses")

    monkeypatch.setattr(chores, "execute", refuse)
    paths, ended = create_lake(str(tmp_path / "lake")), Event()
    books = cast(Books, SimpleNamespace(rows_per_file=lambda: 100, take=lambda: None, count=lambda: None))
    with lease.hold(paths.lease(LEG)) as held:
        waiting, stop = requests.upkeep(), requests.stop(paths)
        inbox.submit(paths.requests, waiting)
        inbox.submit(paths.requests, stop)
        arrivals = Arrivals(paths.table(ARRIVALS))
        chores.Chores(paths, held, Settings(), arrivals, books, [], ended).take_requests()
    assert ended.is_set()
    assert inbox.answer_of(paths.requests, stop.id) is not None
    assert [each.id for each in inbox.pending(paths.requests)] == [waiting.id]
