"""Others that work on the lake at the same time: drivers that may not, and commands that may."""

import signal

from tests.faults.refits import enough
from tests.faults.stage import Stage, Violation


def second_driver(stage: Stage) -> None:
    """Start a second stream on the same lake: it must be refused, and nothing disturbed."""
    stage.streaming()
    first = stage.stream
    assert first is not None
    stage.ledger.land(8)
    second = stage.second()
    stage.until(lambda: not (first.alive and second.alive), 40, tended=False)
    if second.alive and (first.code or 0) < 0:
        # An earlier fault has struck the first one only now: the lake is the second's, as it should be.
        stage.note("the first driver was killed meanwhile, the second goes on")
        stage.stream = second
        return
    code, said = second.code, second.last_lines()
    second.kill()
    if code in (0, None) or "another process writes this lake" not in said:
        raise Violation(f"lease: a second driver ended with {code}: {said}")
    stage.kills["second driver"] += 1


def replace_stopped(stage: Stage, whom: str) -> None:
    """Hold the driver for longer than its lease, let another take over, then wake the first."""
    stage.streaming()
    stage.ledger.land(10)
    held = stage.stream
    assert held is not None
    if whom == "all":
        held.stop()
    else:
        held.signal(signal.SIGSTOP)
    stage.stream = None
    before = stage.tables.rows("features")
    stage.ledger.land(10)
    stage.until(lambda: stage.tables.rows("features") > before, 60)
    held.go_on()
    stage.ledger.land(6)
    if held.wait(60) is None:
        held.kill()
        raise Violation("lease: a driver that lost its lease went on for 60 s")
    code, said = held.code, held.last_lines()
    stage.note(f"the stopped driver ended with {code}")
    held.kill()
    if "no longer writes this lake" not in said:
        raise Violation(f"lease: a driver that lost its lease ended with {code} for another reason: {said}")
    stage.kills[f"stopped driver, {whom}"] += 1


def all_at_once(stage: Stage) -> None:
    """Let stream, refit, upkeep and vacuum go on side by side, while pictures come and go."""
    stage.streaming()
    enough(stage)
    processes = [stage.launch("refit", "--vacuum-days", "0"), stage.launch("upkeep", "--vacuum-days", "0")]
    for _ in range(4):
        stage.ledger.land(3)
        stage.ledger.overwrite(2)
        stage.ledger.delete(1)
        stage.wait(0.6)
    processes.append(stage.launch("upkeep", "--vacuum-days", "0"))
    if not stage.until(lambda: not any(process.alive for process in processes), 150):
        raise Violation(f"a command hangs beside the stream: {[each.last_lines() for each in processes]}")
    for process in processes:
        if process.code and "another process writes" not in process.last_lines():
            raise Violation(f"a command failed beside the stream with {process.code}: {process.last_lines()}")
    stage.kills["all at once"] += 1


def retry(stage: Stage) -> None:
    """Ask for another attempt at what was rejected."""
    stage.retried = True
    stage.streaming()
    code, said = stage.run("rejects retry", "--reason", "truncated")
    if code:
        raise Violation(f"retry ended with {code}: {said}")
