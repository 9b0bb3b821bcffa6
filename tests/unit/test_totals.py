import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from streaming.progress import MicroBatch, described
from streaming.totals import ReportFile, Totals, last_rate

BATCH = MicroBatch(3, 10, {"gone": 1}, 2.0, 0.5, 0.9)


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the place of a report whose folder does not exist yet."""
    return tmp_path / "reports" / "stream.json"


def content(path: Path) -> dict[str, Any]:
    """Read a report."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def test_rejected_pictures_are_the_sum_of_their_reasons() -> None:
    """A new run has none."""
    assert Totals().rejected == 0
    assert Totals(rejections=Counter(gone=2, truncated=3)).rejected == 5


def test_a_report_tells_how_the_run_stands(path: Path, clock: Clock) -> None:
    """It holds what does not change, the totals, the latest micro-batch and when it was written."""
    totals = Totals(landed=20, featurized=9, backlog=10, waiting=1, passed_over=Counter(hidden=2), last=BATCH)
    ReportFile(path, {"landing": "file:///p%C3%AAche", "featurizer": "f"}, monotonic=clock).write(totals)
    found = content(path)
    written = datetime.fromisoformat(found.pop("at"))
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    assert found == {
        "landing": "file:///p%C3%AAche",
        "featurizer": "f",
        "landed": 20,
        "backlog": 10,
        "waiting": 1,
        "passed_over": {"hidden": 2},
        "last_micro_batch": described(BATCH),
    }


def test_before_the_first_micro_batch_there_is_none_to_tell(path: Path, clock: Clock) -> None:
    """A run that has only discovered writes null."""
    ReportFile(path, {}, monotonic=clock).write(Totals(landed=5))
    assert content(path)["last_micro_batch"] is None


def test_a_report_is_written_at_most_once_in_a_while(path: Path, clock: Clock) -> None:
    """The first one at once, the next when `every` seconds have passed."""
    report = ReportFile(path, {}, every=2.0, monotonic=clock)
    landed = []
    for seconds in (0.0, 1.0, 1.9, 2.0, 3.9, 4.0):
        clock.now = 100.0 + seconds
        report.write(Totals(landed=int(seconds * 10)))
        landed.append(content(path)["landed"])
    assert landed == [0, 0, 0, 20, 20, 40]


def test_the_last_word_is_written_in_any_case(path: Path, clock: Clock) -> None:
    """With `now` the clock does not matter, and the wait starts anew."""
    report = ReportFile(path, {}, every=2.0, monotonic=clock)
    report.write(Totals(landed=1))
    clock.now += 1
    report.write(Totals(landed=2), now=True)
    assert content(path)["landed"] == 2
    clock.now += 1.5
    report.write(Totals(landed=3))
    assert content(path)["landed"] == 2


def test_a_reader_never_meets_half_a_report(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing fails the run goes on, the earlier report stays whole, and nothing is left beside it."""
    report = ReportFile(path, {}, monotonic=clock)
    report.write(Totals(landed=1), now=True)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("conf.files.os.fsync", full)
    report.write(Totals(landed=2), now=True)
    assert content(path)["landed"] == 1
    assert list(path.parent.iterdir()) == [path]


def test_an_open_report_keeps_what_it_held(path: Path, clock: Clock) -> None:
    """A new report replaces the file and does not write into it: who reads the old one reads it to its end."""
    report = ReportFile(path, {}, monotonic=clock)
    report.write(Totals(landed=1), now=True)
    with path.open("rb") as reader:
        report.write(Totals(landed=2), now=True)
        assert json.loads(reader.read())["landed"] == 1
    assert content(path)["landed"] == 2
    assert list(path.parent.iterdir()) == [path]


def test_the_next_run_begins_with_the_last_ones_rate(path: Path) -> None:
    """Of the same featurizer and of a micro-batch large enough to tell; nothing else counts."""
    batch = MicroBatch(number=3, pictures=500, rejections={}, seconds=5.0, freshness_p50=1.0, freshness_p95=2.0)
    ReportFile(path, {"featurizer": "f"}).write(Totals(last=batch), now=True)
    assert last_rate(path, "f", at_least=64) == 100.0
    assert last_rate(path, "g", at_least=64) == 0.0
    assert last_rate(path, "f", at_least=501) == 0.0
    path.write_text("[]")
    assert last_rate(path, "f", at_least=64) == 0.0
    assert last_rate(path.with_name("none"), "f", at_least=64) == 0.0
