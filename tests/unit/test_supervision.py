import itertools

import pytest

from conf.retrying import Backoff
from streaming.supervision import Fate, fate, telling_line

WORKER = """org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "worker.py", line 1, in featurize
    data = read()
conf.errors.{error}

\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:1)
"""


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (WORKER.format(error="StorageError: the network is down"), Fate.WAIT),
        (WORKER.format(error="DeniedError: the landing may not be read: Permission denied"), Fate.END),
        (WORKER.format(error="BackboneError: the model is damaged"), Fate.END),
        ("java.io.IOException: No space left on device", Fate.END),
        ("[DELTA_VIOLATE_CONSTRAINT_WITH_VALUES] CHECK constraint outcome", Fate.END),
        ("java.net.ConnectException: Connection refused", Fate.WAIT),
        ("Python worker exited unexpectedly (crashed)", Fate.TRY),
        ("", Fate.TRY),
    ],
)
def test_a_failure_tells_whether_to_wait_to_try_or_to_end(failure: str, expected: Fate) -> None:
    """An outage is waited out, what cannot heal ends the run, the unknown is tried a few times."""
    assert fate(failure) is expected


def test_the_telling_line_is_the_workers_own_exception() -> None:
    """Not the frames above it, nor Java's below; without a traceback it is the first line."""
    assert telling_line(WORKER.format(error="StorageError: down")) == "conf.errors.StorageError: down"
    assert telling_line("java.io.IOException: full\n\tat x.y") == "java.io.IOException: full"
    assert telling_line("") == "no reason given"


def test_waits_double_up_to_the_cap_and_begin_anew_after_a_success() -> None:
    """Half of each wait is fixed, the other half is drawn."""
    drawn = itertools.cycle([0.0, 1.0])
    backoff = Backoff(first=1, cap=10, draw=lambda: next(drawn))
    assert [backoff.next() for _ in range(6)] == [0.5, 2, 2, 8, 5, 10]
    backoff.reset()
    assert backoff.next() == 0.5


def test_a_year_of_outage_still_waits_for_the_cap() -> None:
    """No overflow, however many tries there were."""
    backoff = Backoff(first=1, cap=300, draw=lambda: 1.0)
    backoff.tries = 1_000_000
    assert backoff.next() == 300
