import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from streaming.progress import MicroBatch, described
from streaming.totals import Former, ReportFile, Standing, Totals, duration, former

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
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


def standings(**outcomes: int) -> dict[str, Standing]:
    """Give featurizers that make ten pictures a second, by name."""
    return {name: Standing(outcomes=count, rate=10.0) for name, count in outcomes.items()}


def test_the_backlog_is_what_each_featurizer_has_left() -> None:
    """The time left is the slowest one's, at its own rate; with nothing left or no rate it is none."""
    totals = Totals(landed=100, featurizers=standings(old=90, new=20))
    assert (totals.backlog, totals.backlog_of("old"), totals.seconds_left) == (90, 10, 8.0)
    totals.featurizers["old"].rate = 0.5
    assert totals.seconds_left == 20.0
    assert (Totals(landed=5).backlog, Totals(landed=5).seconds_left) == (0, 0.0)
    assert Totals(landed=5, featurizers={"f": Standing()}).seconds_left == 0.0


def test_a_micro_batch_counts_for_its_featurizer() -> None:
    """Outcomes, reasons and the rate; one of few pictures says nothing of the rate."""
    totals = Totals(landed=100, featurizers=standings(old=0, new=0))
    totals.add("new", BATCH, telling=11)
    assert (totals.featurizers["new"].rate, totals.featurizers["old"].outcomes) == (10.0, 0)
    totals.add("new", BATCH, telling=10)
    assert totals.featurizers["new"].rate == BATCH.rate == 5.0
    assert (totals.featurized, totals.rejections, totals.batches) == (18, {"gone": 2}, 2)
    assert totals.backlog_of("new") == 80


def test_a_report_tells_how_the_run_stands(path: Path, clock: Clock) -> None:
    """It holds what does not change, the totals, each featurizer's latest micro-batch and when it was written."""
    totals = Totals(landed=20, waiting=1, passed_over=Counter(hidden=2), featurizers=standings(f=0))
    totals.add("f", BATCH, telling=1, at=NOON)
    totals.remember(NOON)
    ReportFile(path, {"landing": "file:///p%C3%AAche"}, monotonic=clock).write(totals)
    found = content(path)
    written = datetime.fromisoformat(found.pop("at"))
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    assert found == {
        "landing": "file:///p%C3%AAche",
        "upkeep_at": "",
        "landed": 20,
        "backlog": 10,
        "seconds_left": 2,
        "waiting": 1,
        "passed_over": {"hidden": 2},
        "featurizers": {
            "f": {
                "state": "starting",
                "backlog": 10,
                "audited_at": "",
                "last_micro_batch": described(BATCH),
                "pictures_per_second": 5.0,
                "micro_batches": [{"at": "2026-03-01T12:00:00+00:00", **described(BATCH)}],
                "backlog_history": [["2026-03-01T12:00:00+00:00", 10]],
            }
        },
    }


def test_before_the_first_micro_batch_there_is_none_to_tell(path: Path, clock: Clock) -> None:
    """A run that has only discovered writes null."""
    ReportFile(path, {}, monotonic=clock).write(Totals(landed=5, featurizers=standings(f=0)))
    assert content(path)["featurizers"]["f"]["last_micro_batch"] is None


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


def test_the_next_run_begins_with_what_the_last_one_measured(path: Path) -> None:
    """A micro-batch too small to tell does not count, and what cannot be read says nothing."""
    batch = MicroBatch(number=3, pictures=500, rejections={}, seconds=5.0, freshness_p50=1.0, freshness_p95=2.0)
    totals = Totals(featurizers=standings(f=0, g=0), upkeep_at="2026-03-01T08:00:00+00:00")
    totals.add("f", batch, telling=1, at=NOON)
    totals.remember(NOON)
    for each in totals.featurizers.values():
        each.audited_at = "2026-03-01T07:00:00+00:00"
    ReportFile(path, {}).write(totals, now=True)
    audits = dict.fromkeys(("f", "g"), "2026-03-01T07:00:00+00:00")
    past = {name: each.recent for name, each in totals.featurizers.items()}
    assert len(past["f"].micro_batches) == 1
    assert former(path, telling=64) == Former({"f": 100.0}, audits, "2026-03-01T08:00:00+00:00", past)
    assert former(path, telling=501).rates == {}
    for unreadable in ("[]", "{}", "{", '{"featurizers": {"f": {"last_micro_batch": {}}}}', '{"featurizers": []}'):
        path.write_text(unreadable)
        assert former(path, telling=64) == Former()
    assert former(path.with_name("none"), telling=64) == Former()


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (119, "119.0 s"), (420, "7 min"), (11160, "3.1 h"), (1e6, "11.6 d")]
)
def test_a_duration_is_said_as_a_person_does(seconds: float, said: str) -> None:
    """Three digits at most, in the unit that fits."""
    assert duration(seconds) == said
