"""Refits, rejections, and how much was featurized when."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.refit import refit, use
from batch.report import history
from batch.report.findings import Interval, Rejected
from batch.report.history import freshness, intervals, length_of, refits, rejected, times_of
from batch.rows.parts import Part
from batch.rows.winners import snapshot
from conf.rejections import Reason
from conf.schemas import COMPONENTS, FEATURES, MODELS
from conf.settings import Settings
from conf.tables import ensure
from tests.unit.lakes import MORNING, ONE, OTHER, Orchard, seconds


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Return an empty lake."""
    return Orchard(tmp_path / "lake")


def outcomes(orchard: Orchard) -> tuple[Part, ...]:
    """Return where all outcomes of the featurizer lie."""
    return snapshot(orchard.paths.table(FEATURES), ONE).parts


class TestRefits:
    """The models of a lake."""

    def grown(self, orchard: Orchard, times: int) -> list[str]:
        """Refit some times, each with new pictures, and return the models."""
        for table in (MODELS, COMPONENTS):
            ensure(table, orchard.paths.table(table))
        random = np.random.default_rng(0)
        made = []
        for time in range(times):
            vectors = random.normal(3, 1, (12, 4)).tolist()
            orchard.outcome(*({"uri": f"{time}-{row}", "features": each} for row, each in enumerate(vectors)))
            done = refit(orchard.paths, ONE, Settings(components=2)).model
            assert done is not None
            made.append(done.id)
        return made

    def test_the_oldest_first_with_drift(self, orchard: Orchard) -> None:
        """A first one has none; the published one is told."""
        made = self.grown(orchard, 2)
        found = refits(orchard.paths, ONE)
        assert [(each.model, each.n, each.k, each.published) for each in found] == [
            (made[0], 12, 2, False),
            (made[1], 24, 2, True),
        ]
        assert found[0].drift is None
        assert found[1].drift is not None
        assert found[1].drift["since"] == made[0]
        assert 0.5 < found[1].shown < 1
        assert found[0].created_at < found[1].created_at

    def test_an_older_one_that_was_published_again(self, orchard: Orchard) -> None:
        """The components are of it."""
        made = self.grown(orchard, 2)
        use(orchard.paths, ONE, made[0])
        assert [each.published for each in refits(orchard.paths, ONE)] == [True, False]

    def test_the_last_ones(self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where there are many."""
        monkeypatch.setattr(history, "REFITS", 2)
        made = self.grown(orchard, 3)
        assert [each.model for each in refits(orchard.paths, ONE)] == made[1:]

    def test_none(self, orchard: Orchard) -> None:
        """Before the first there is nothing to tell."""
        assert refits(orchard.paths, ONE) == ()


class TestRejected:
    """Pictures whose newest outcome is a rejection."""

    def test_by_reason(self, orchard: Orchard) -> None:
        """The most frequent first, with its sentence and what was seen."""
        orchard.outcome({"uri": "a", "rejection": "corrupt", "detail": "no end"}, {"uri": "b"})
        orchard.outcome(*({"uri": name, "rejection": "gone"} for name in ("d", "c")))
        assert rejected(outcomes(orchard)) == (
            Rejected("gone", Reason.GONE.sentence, 2, (("c", ""), ("d", ""))),
            Rejected("corrupt", Reason.CORRUPT.sentence, 1, (("a", "no end"),)),
        )

    def test_only_the_newest_outcome_counts(self, orchard: Orchard) -> None:
        """A later version or attempt that went well takes a rejection back, and the reverse."""
        orchard.outcome({"uri": "a", "rejection": "gone"}, {"uri": "b", "rejection": "gone"}, {"uri": "c"})
        orchard.outcome({"uri": "a", "attempt": 2}, {"uri": "b", "landed_at": seconds(5)})
        orchard.outcome({"uri": "c", "landed_at": seconds(5), "rejection": "empty"})
        orchard.outcome({"uri": "d", "rejection": "empty"}, featurizer=OTHER)
        assert [(each.reason, each.count, each.examples) for each in rejected(outcomes(orchard))] == [
            ("empty", 1, (("c", ""),))
        ]

    def test_a_few_examples(self, orchard: Orchard) -> None:
        """However many there are."""
        orchard.outcome(*({"uri": f"{number}", "rejection": "gone"} for number in range(9)))
        (found,) = rejected(outcomes(orchard))
        assert found.count == 9
        assert [uri for uri, _ in found.examples] == list("01234")

    def test_a_reason_of_a_newer_verger(self, orchard: Orchard) -> None:
        """It is told without a sentence."""
        orchard.outcome({"uri": "a", "rejection": "struck_by_lightning"})
        assert rejected(outcomes(orchard))[0].sentence == ""

    def test_none(self, orchard: Orchard) -> None:
        """No outcome, or only sound ones."""
        assert rejected(outcomes(orchard)) == ()
        orchard.outcome({"uri": "a"})
        assert rejected(outcomes(orchard)) == ()


class TestIntervals:
    """How much was featurized when."""

    def test_counts_and_freshness(self, orchard: Orchard) -> None:
        """Without gaps, and over all; a later attempt has no freshness, and a clock that was set back none below 0."""
        rows = [(0, 3), (0, 5), (0, 7), (10, 4)]
        orchard.outcome(
            *(
                {"uri": f"{row}", "landed_at": seconds(made - fresh), "featurized_at": seconds(made)}
                for row, (made, fresh) in enumerate(rows)
            ),
            {"uri": "retried", "attempt": 2, "landed_at": seconds(-900), "featurized_at": seconds(10)},
        )
        orchard.outcome({"uri": "x", "landed_at": seconds(9), "featurized_at": seconds(1), "rejection": "gone"})
        times = times_of(outcomes(orchard))
        found = intervals(times)
        assert freshness(times) == pytest.approx((4.0, np.quantile([3, 5, 7, 4, 0], 0.95)))
        assert len(found) == 11
        assert found[0] == Interval(seconds(0), seconds(1), 3, 0, 5.0, float(np.quantile([3, 5, 7], 0.95)), 3.0)
        assert found[1] == Interval(seconds(1), seconds(2), 1, 1, 0.0, 0.0, 1.0)
        assert found[10] == Interval(seconds(10), seconds(11), 2, 0, 4.0, 4.0, 2.0)
        assert all(one.end == other.start for one, other in pairwise(found))
        for empty in found[2:10]:
            assert (empty.outcomes, empty.rejected, empty.rate) == (0, 0, 0)
            assert np.isnan([empty.freshness_p50, empty.freshness_p95]).all()

    def test_a_longer_time_has_longer_stretches(self, orchard: Orchard) -> None:
        """Two hours in stretches of two minutes."""
        orchard.outcome(*({"uri": f"{row}", "featurized_at": seconds(40 * row)} for row in range(181)))
        found = intervals(times_of(outcomes(orchard)))
        assert {each.end - each.start for each in found} == {timedelta(minutes=2)}
        assert len(found) == 61
        assert [each.outcomes for each in found] == [3] * 60 + [1]
        assert found[0].rate == pytest.approx(3 / 120)

    def test_it_is_told_how_far_it_is(self, orchard: Orchard) -> None:
        """Up to the last outcome."""
        said: list[tuple[str, float, float]] = []
        orchard.featurize("a", "b")
        times_of(outcomes(orchard), lambda text, done=0, total=0: said.append((text, done, total)))
        assert said[-1] == ("reading when pictures were featurized", 2, 2)

    def test_none(self, orchard: Orchard) -> None:
        """No outcome has no time."""
        times = times_of(outcomes(orchard))
        assert intervals(times) == ()
        assert np.isnan(freshness(times)).all()

    @given(
        st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),
        st.integers(0, 10**16),
    )
    def test_any_time_falls_into_few_stretches(self, first: datetime, span: int) -> None:
        """Of the least round length that does."""
        start = int(first.replace(tzinfo=UTC).timestamp() * 1e6)
        length = length_of(start, start + span)
        touched = (start + span) // (length * 10**6) - start // (length * 10**6) + 1
        assert 1 <= touched <= 96
        assert length in history._LENGTHS or length % 86_400 == 0
        if length > 1:
            assert span > 40 * 10**6

    def test_round_lengths(self) -> None:
        """Seconds for a minute, minutes for an hour, hours for days."""
        start = int(MORNING.timestamp()) * 10**6
        lengths = [length_of(start, start + span * 10**6) for span in (0, 60, 3_600, 86_399, 7 * 86_400, 900 * 86_400)]
        assert lengths == [1, 1, 60, 900, 7_200, 10 * 86_400]
