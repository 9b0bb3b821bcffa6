"""Refits beside the stream."""

from tests.faults.stage import Stage, Violation

_NEW = 4


def refitted(stage: Stage) -> None:
    """Refit until it succeeds, as a scheduler does; at most a few times."""
    for _ in range(4):
        code, said = stage.run("refit")
        if code == 0:
            return
        stage.note(f"refit ended with {code}: {said}")
        stage.wait(1)
    raise Violation(f"I7: a refit failed four times: {said}")


def enough(stage: Stage) -> None:
    """Wait until there is something to refit, and something new."""
    before = stage.tables.rows("features")
    stage.ledger.land(_NEW, bad=0)
    stage.until(lambda: stage.tables.rows("features") >= max(12, before + _NEW), 60)


def refit(stage: Stage) -> None:
    """Refit, beside the stream."""
    enough(stage)
    refitted(stage)
