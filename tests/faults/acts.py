"""What can happen to a lake and its landing: each act is a function of the stage, by its name in a schedule."""

import json
from collections.abc import Callable

from tests.faults import harms, kills, refits, rivals
from tests.faults.schedule import Step
from tests.faults.stage import Stage


def play(stage: Stage, step: Step) -> None:
    """Do what a step says."""
    stage.note(f"{step.act} {json.dumps(dict(step.arguments))}")
    ACTS[step.act](stage, **step.arguments)


def land(stage: Stage, number: int) -> None:
    """Let pictures land."""
    stage.ledger.land(number)
    stage.tend()


def overwrite(stage: Stage, number: int) -> None:
    """Replace pictures."""
    stage.ledger.overwrite(number)


def delete(stage: Stage, number: int) -> None:
    """Delete pictures."""
    stage.ledger.delete(number)


def dribble(stage: Stage, pause: float) -> None:
    """Write a picture slowly in its place."""
    stage.ledger.dribble(pause)


def wait(stage: Stage, seconds: float) -> None:
    """Let time pass."""
    stage.wait(seconds)


def started(stage: Stage) -> None:
    """Wait until outcomes are made."""
    stage.featurizing()


ACTS: dict[str, Callable[..., None]] = {
    each.__name__: each
    for each in (
        land,
        overwrite,
        delete,
        dribble,
        wait,
        started,
        refits.refit,
        kills.kill_at,
        kills.kill_in_micro_batch,
        kills.kill_after,
        kills.kill_in_adoption,
        kills.kill_in_refit,
        kills.kill_refit_after,
        kills.kill_in_request,
        kills.terminate,
        harms.land_endless,
        harms.harm_worker,
        harms.fill_disk,
        harms.harm_checkpoint,
        harms.step_clock,
        harms.trouble_storage,
        rivals.second_driver,
        rivals.replace_stopped,
        rivals.all_at_once,
        rivals.retry,
    )
}
