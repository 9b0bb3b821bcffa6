from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import write_deltalake

from conf.errors import StorageError, UsageError
from conf.schemas import ARRIVALS
from streaming.arrivals import Arrivals
from streaming.commands import requests
from streaming.commands.requests import Answer, Request
from streaming.commands.retries import retry
from streaming.commands.selection import Selection
from tests.unit.lakes import ONE, OTHER, Orchard, seconds


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Make an empty lake."""
    return Orchard(tmp_path / "lake")


def execute(orchard: Orchard, request: Request | None = None, rows_per_file: int = 100) -> Answer:
    """Execute a request as a process of its own would."""
    arrivals = Arrivals(orchard.paths.table(ARRIVALS))
    return retry(request or requests.retry(), orchard.paths, arrivals, rows_per_file)


def retried(orchard: Orchard) -> list[tuple[str, int]]:
    """Give uri and attempt of the retries among arrivals."""
    return [(row["uri"], row["attempt"]) for row in orchard.rows(ARRIVALS) if row["route"] == "retry"]


def test_a_rejected_picture_arrives_again(orchard: Orchard) -> None:
    """The same version, as the next attempt, discovered now: newer than what was rejected."""
    before = datetime.now(UTC)
    orchard.arrive("a", e_tag="7-7", size=7, version="v", landed_at=seconds(3))
    orchard.outcome({"uri": "a", "e_tag": "7-7", "landed_at": seconds(3), "rejection": "forbidden"})
    answer = execute(orchard)
    assert answer == Answer(
        "1 rejected picture will be tried again", {"retried": 1, "waiting": 0, "left_out": {}}, exit_code=0
    )
    first, second = orchard.rows(ARRIVALS)
    assert before <= second["discovered_at"] <= datetime.now(UTC)
    assert second == first | {"attempt": 2, "route": "retry", "discovered_at": second["discovered_at"]}


def test_attempts_count_on(orchard: Orchard) -> None:
    """Each retry of a version is one more."""
    orchard.reject("gone", "a")
    for attempt in (2, 3):
        assert execute(orchard).facts["retried"] == 1
        row = orchard.rows(ARRIVALS)[-1]
        assert row["attempt"] == attempt
        orchard.outcome({**{name: row[name] for name in ("uri", "attempt", "discovered_at")}, "rejection": "gone"})


def test_only_what_another_attempt_can_help_is_retried(orchard: Orchard) -> None:
    """The rest is left out, counted by reason, unless a reason is given."""
    for number, reason in enumerate(("truncated", "empty", "forbidden", "gone", "crashed", "timed_out", "truncated")):
        orchard.reject(reason, f"{number}")
    answer = execute(orchard)
    assert [uri for uri, _ in retried(orchard)] == ["2", "3", "4", "5"]
    assert answer.facts == {"retried": 4, "waiting": 0, "left_out": {"truncated": 2, "empty": 1}}
    assert answer.sentence == (
        "4 rejected pictures will be tried again; 3 left out, as another attempt cannot help (empty 1, truncated 2; "
        "--reason insists)"
    )
    answer = execute(orchard, requests.retry(["truncated"]))
    assert answer.facts == {"retried": 2, "waiting": 0, "left_out": {}}
    assert [uri for uri, _ in retried(orchard)] == ["0", "2", "3", "4", "5", "6"]


def test_a_prefix_limits_what_is_retried(orchard: Orchard) -> None:
    """It is the beginning of the uri."""
    orchard.reject("gone", "file:///a/1", "file:///a/b/2", "file:///ab/3")
    assert execute(orchard, requests.retry(selection=Selection(prefix="file:///a/"))).facts["retried"] == 2
    assert retried(orchard) == [("file:///a/1", 2), ("file:///a/b/2", 2)]


def test_only_the_newest_outcome_counts(orchard: Orchard) -> None:
    """A picture that has features by now, or a newer version, is not retried for an old rejection."""
    orchard.reject("gone", "mended", "overwritten", "a")
    orchard.arrive("mended", attempt=2)
    orchard.outcome({"uri": "mended", "attempt": 2})
    orchard.arrive("overwritten", landed_at=seconds(9), e_tag="2-2")
    orchard.outcome({"uri": "overwritten", "landed_at": seconds(9), "e_tag": "2-2"})
    assert execute(orchard).facts == {"retried": 1, "waiting": 0, "left_out": {}}
    assert retried(orchard) == [("a", 2)]


@pytest.mark.parametrize("newer", [{"attempt": 2}, {"landed_at": seconds(9), "e_tag": "2-2"}])
def test_a_picture_that_waits_is_left_alone(newer: dict[str, Any], orchard: Orchard) -> None:
    """A newer arrival of it, a retry or another version, will have its own outcome."""
    orchard.reject("gone", "a", "b")
    orchard.arrive("a", **newer)
    answer = execute(orchard)
    assert answer.facts == {"retried": 1, "waiting": 1, "left_out": {}}
    assert answer.sentence.endswith("1 picture left alone, as a newer arrival waits for its outcome")
    assert retried(orchard) == [("b", 2)]


def test_a_version_is_retried_once_for_all_featurizers(orchard: Orchard) -> None:
    """Every featurizer sees the new arrival, so one is enough; each may name its own."""
    orchard.arrive("both", "one", "other")
    orchard.outcome({"uri": "both", "rejection": "gone"}, {"uri": "one", "rejection": "gone"}, {"uri": "other"})
    orchard.outcome(
        {"uri": "both", "rejection": "forbidden"},
        {"uri": "one", "rejection": "empty"},
        {"uri": "other", "rejection": "gone"},
        featurizer=OTHER,
    )
    answer = execute(orchard, requests.retry(featurizer="mobilenet"))
    assert answer.facts == {"retried": 2, "waiting": 0, "left_out": {"empty": 1}}
    assert retried(orchard) == [("both", 2), ("other", 2)]
    assert execute(orchard).facts == {"retried": 1, "waiting": 2, "left_out": {"empty": 1}}
    assert retried(orchard) == [("both", 2), ("one", 2), ("other", 2)]


def test_a_featurizer_that_is_not_there_is_refused(orchard: Orchard) -> None:
    """With those that are."""
    orchard.reject("gone", "a")
    with pytest.raises(UsageError, match=f"no featurizer begins so; the lake has {ONE}"):
        execute(orchard, requests.retry(featurizer="vgg"))


def test_a_lake_without_rejections_has_nothing_to_retry(orchard: Orchard) -> None:
    """Neither an empty one nor one where all went well; nothing is committed."""
    for _ in range(2):
        assert execute(orchard).facts == {"retried": 0, "waiting": 0, "left_out": {}}
        orchard.featurize("a")
    assert orchard.version(ARRIVALS) == 2


def test_a_request_that_is_executed_twice_retries_once(orchard: Orchard) -> None:
    """Also where the second attempt was rejected again between the two executions."""
    orchard.reject("gone", "a", "b")
    request = requests.retry()
    assert execute(orchard, request).facts["retried"] == 2
    assert execute(orchard, request).facts == {"retried": 0, "waiting": 2, "left_out": {}}
    row = orchard.rows(ARRIVALS)[1]
    assert row["attempt"] == 2
    orchard.outcome({"uri": "a", "attempt": 2, "discovered_at": row["discovered_at"], "rejection": "gone"})
    assert execute(orchard, request).facts == {"retried": 0, "waiting": 2, "left_out": {}}
    assert execute(orchard, requests.retry()).facts == {"retried": 1, "waiting": 1, "left_out": {}}


def test_an_interrupted_retry_is_completed(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed before the crash is not repeated, the rest follows."""
    orchard.reject("gone", "a", "b", "c")
    answers = iter([write_deltalake])

    def write_once(*args: Any, **kwargs: Any) -> None:
        write = next(answers, None)
        if write is None:
            raise OSError(28, "No space left on device")
        write(*args, **kwargs)

    request = requests.retry()
    with monkeypatch.context() as patch:
        patch.setattr("streaming.arrivals.write_deltalake", write_once)
        with pytest.raises(StorageError, match="No space left"):
            execute(orchard, request, rows_per_file=2)
    assert len(retried(orchard)) == 2
    assert execute(orchard, request, rows_per_file=2).facts == {"retried": 1, "waiting": 2, "left_out": {}}
    assert retried(orchard) == [("a", 2), ("b", 2), ("c", 2)]


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_retry_wins_whatever_the_clock_says(hours: int, orchard: Orchard) -> None:
    """The newest row wins by its time of discovery, so that of a retry is never before what it repeats."""
    later = datetime.now(UTC) + timedelta(hours=hours)
    orchard.arrive("a", discovered_at=later)
    orchard.outcome({"uri": "a", "discovered_at": later, "rejection": "gone"})
    made = requests.retry()
    request = Request(made.kind, made.id, later + timedelta(seconds=1))
    assert execute(orchard, request).facts["retried"] == 1
    assert orchard.rows(ARRIVALS)[-1]["discovered_at"] >= later + timedelta(seconds=1)


def test_files_stay_bounded(orchard: Orchard) -> None:
    """A retry of many pictures is as many micro-batches as their arrival was."""
    orchard.reject("gone", *(f"{number}" for number in range(10)))
    before = orchard.version(ARRIVALS)
    assert execute(orchard, rows_per_file=4).facts["retried"] == 10
    assert orchard.version(ARRIVALS) == before + 3


def test_the_drivers_own_knowledge_counts_retries(orchard: Orchard) -> None:
    """The length of arrivals is their rows: the leg compares it with the outcomes."""
    orchard.reject("gone", "a")
    arrivals = Arrivals(orchard.paths.table(ARRIVALS))
    assert len(arrivals) == 1
    retry(requests.retry(), orchard.paths, arrivals, 100)
    assert len(arrivals) == 2
