"""A few fixed schedules of the fault suite; `make faults` plays hundreds that are drawn."""

from pathlib import Path

import pytest

from conf.points import POINTS
from streaming.backbones.shelf import Compiled
from tests.conftest import TINY
from tests.faults.acts import ACTS
from tests.faults.mutants import MUTANTS, Mutant
from tests.faults.playing import played
from tests.faults.schedule import FAULTS, Schedule, Step, Store, draw
from tests.faults.stage import BACKBONE, TREE

_BOTH_LEGS = (
    Step("land", {"number": 12}),
    Step("kill_in_micro_batch", {"point": "batch-committed", "nth": 1}),
    Step("overwrite", {"number": 3}),
    Step("delete", {"number": 2}),
    Step("kill_in_refit", {"point": "model-appended", "whom": "all", "repaired": False}),
)
_STREAM = (
    Step("land", {"number": 14}),
    Step("kill_at", {"point": "arrivals-appended", "nth": 1, "whom": "python"}),
    Step("dribble", {"pause": 0.3}),
    Step("harm_worker", {"harm": "SEGV"}),
    Step("harm_checkpoint", {"harm": "older"}),
)
_CLOCK = (Step("land", {"number": 12}), Step("step_clock", {"seconds": 86400, "back": True}))


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(_BOTH_LEGS, id="both legs", marks=pytest.mark.slow),
        pytest.param(_STREAM, id="stream", marks=pytest.mark.long),
        pytest.param(_CLOCK, id="clock", marks=pytest.mark.long),
    ],
)
def test_faults_break_no_rule(steps: tuple[Step, ...], embedded: Compiled, tmp_path: Path) -> None:
    """Real processes are killed between two writes, and the lake is whole."""
    done = played(Schedule(7, "folder", {"batch-pictures": "8"}, steps), tmp_path / "stage", embedded)
    assert not done.violations, done.story
    assert done.kills


def test_a_schedule_is_repeated_from_its_line(tmp_path: Path) -> None:
    """What a failure prints is the whole of it, and equal seeds draw equal ones."""
    drawn = draw(3)
    assert drawn == draw(3)
    assert drawn != draw(4)
    line = tmp_path / "schedule.json"
    line.write_text(drawn.to_json())
    assert Schedule.of(line).to_json() == drawn.to_json()


@pytest.mark.parametrize("store", ["folder", "s3"])
def test_every_kind_of_fault_is_drawn_first_in_turn(store: Store) -> None:
    """Consecutive seeds go through them, and each is an act that is known."""
    seeds = range(len(FAULTS[store]))
    drawn = [draw(seed, store, faults=1) for seed in seeds]
    acts = {step.act for each in drawn for step in each.steps}
    assert {fault.act for fault in FAULTS[store].values()} <= acts <= set(ACTS)


def test_every_named_point_is_killed_at() -> None:
    """A point that nobody kills at proves nothing."""
    killed = {str(fault.fixed["point"]) for fault in FAULTS["folder"].values() if "point" in fault.fixed}
    assert set(POINTS) <= killed


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_safeguard_stands_where_the_list_of_mutants_says(mutant: Mutant) -> None:
    """The list is held to the program; `make mutants` plays it."""
    text = (TREE / mutant.file).read_text()
    assert [text.count(old) for old, _ in mutant.cuts] == [1] * len(mutant.cuts)


def test_the_backbone_is_the_one_that_the_tests_compile() -> None:
    """The suite names it to the command line."""
    assert BACKBONE == TINY
