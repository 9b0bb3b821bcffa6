"""Discovery waits where it would only make a longer line of ever smaller files."""

from dataclasses import dataclass, field

import pytest

from streaming import sizing
from streaming.pacing import Pace, taken
from streaming.query import Admission

ONE = Admission(max_bytes=1_000)
FIVE = Admission(max_bytes=19_200)


@dataclass
class Trickle:
    """A landing where pictures come one by one, and a query that takes so many files of them at a time.

    Attributes
    ----------
    rate : float
        Pictures that land in a second.
    batch : float
        Seconds of a micro-batch, whatever it holds.
    admission : Admission
    files : list of int
        Those that wait, by how many arrivals there are with each.
    """

    rate: float
    batch: float
    admission: Admission
    now: float = 0.0
    arrived: int = 0
    outcomes: int = 0
    files: list[int] = field(default_factory=list)

    def backlogs(self, seconds: float, paced: bool) -> list[float]:
        """Return how many pictures wait, in the landing and the table, after each second."""
        pace = Pace({"net": self.admission}, lambda: self.now)
        until, under_way, seen = self.batch, 0, []
        while self.now < seconds:
            self.now += 1.0
            if not paced or pace.allows({"net": self.outcomes}, self.arrived):
                before, self.arrived = self.arrived, int(self.now * self.rate)
                self.files += [self.arrived] if self.arrived > before else []
                pace.looked(before, self.arrived, 600)
            if self.now >= until:
                self.outcomes = max(self.outcomes, under_way)
                ready, self.files = self.files[: taken(self.admission)], self.files[taken(self.admission) :]
                until, under_way = self.now + self.batch, ready[-1] if ready else under_way
            seen.append(self.now * self.rate - self.outcomes)
        return seen


@pytest.mark.parametrize(("admission", "batch"), [(ONE, 8.0), (FIVE, 20.0)], ids=["one file", "five files"])
def test_a_trickle_does_not_outrun_the_queries(admission: Admission, batch: float) -> None:
    """However small the files that a micro-batch takes, what waits is bounded; unpaced, it is not."""
    unpaced = Trickle(3, batch, admission).backlogs(1200, paced=False)
    paced = Trickle(3, batch, admission).backlogs(1200, paced=True)
    assert unpaced[-1] > 1.8 * unpaced[599]
    assert max(paced[600:]) <= max(paced[:600])
    assert max(paced) < unpaced[-1] / 4


def test_where_few_files_wait_discovery_looks() -> None:
    """Up to two micro-batches of them change nothing."""
    pace = Pace({"net": FIVE}, lambda: 0.0)
    for number in range(9):
        pace.looked(number, number + 1, 600)
        assert pace.allows({"net": 0}, number + 1)
    pace.looked(9, 10, 600)
    assert not pace.allows({"net": 0}, 10)
    assert pace.allows({"net": 1}, 10)


def test_full_files_are_no_reason_to_wait() -> None:
    """A large landing is recorded as fast as it is listed."""
    pace = Pace({"net": ONE}, lambda: 0.0)
    for number in range(50):
        pace.looked(number * 600, number * 600 + 600, 600)
    assert pace.allows({"net": 0}, 30_000)


def test_after_half_a_minute_discovery_looks_in_any_case() -> None:
    """A queue forgets messages after some days, and the backlog is to be known."""
    now = 0.0
    pace = Pace({"net": ONE}, lambda: now)
    for number in range(5):
        pace.looked(number, number + 1, 600)
    now = 29.0
    assert not pace.allows({"net": 0}, 5)
    now = 30.0
    assert pace.allows({"net": 0}, 5)


def test_one_that_is_busy_with_what_came_earlier_does_not_hold_up_another() -> None:
    """A featurizer with a long backlog has its line before it; one that has come to the line is waited for."""
    pace = Pace({"fast": FIVE, "slow": ONE}, lambda: 0.0)
    for number in range(1000, 1005):
        pace.looked(number, number + 1, 600)
    assert pace.allows({"fast": 1004, "slow": 200}, 1005)
    assert not pace.allows({"fast": 1004, "slow": 1000}, 1005)
    assert pace.allows({"fast": 1004, "slow": 1004}, 1005)


def test_counts_from_before_a_takedown_mean_nothing() -> None:
    """When all is done there is no line, whatever the counts were."""
    pace = Pace({"net": ONE}, lambda: 0.0)
    for number in range(100, 105):
        pace.looked(number, number + 1, 600)
    assert not pace.allows({"net": 40}, 50)
    assert pace.allows({"net": 50}, 50)


def test_a_fragment_is_what_arrivals_are_made_of() -> None:
    """A small micro-batch takes one, a usual one several."""
    assert taken(sizing.admission(64, 40)) == 1
    assert taken(sizing.admission(600, 40)) == 5
