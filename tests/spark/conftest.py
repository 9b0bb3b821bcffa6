"""What the Spark suite's tests of the whole leg share: a run of it on the suite's own session."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.lake import LakePaths
from conf.settings import Settings
from streaming import stream
from streaming.totals import Totals
from tests.conftest import TINY

Sessions = Callable[..., AbstractContextManager[SparkSession]]
Run = Callable[..., Totals]


@pytest.fixture
def sessions(spark: SparkSession) -> Sessions:
    """Hand out the suite's session where production would start one."""

    @contextmanager
    def started(name: str, **_: Any) -> Iterator[SparkSession]:
        yield spark

    return started


@pytest.fixture
def run(landing: Path, lake: LakePaths, sessions: Sessions) -> Run:
    """Return a function that runs the leg until what has landed is drained, or with other settings.

    With `watch`, a function of the totals that returns whether to stop.
    """

    def once(*, watch: Callable[[Totals], bool] = lambda totals: False, **changed: Any) -> Totals:
        stop = Event()

        def report(totals: Totals) -> None:
            if watch(totals):
                stop.set()

        given = {
            "landing": str(landing),
            "lake": str(lake.root),
            "backbone": (TINY,),
            "once": True,
            "settle": 0.0,
            **changed,
        }
        return stream.run(Settings(**given), stop, report=report, sessions=sessions)

    return once
