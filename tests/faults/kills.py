"""Kills: at named points, at moments that show from outside, at random."""

import signal
import time
from collections.abc import Callable

from tests.faults import checkpoints
from tests.faults.processes import Process
from tests.faults.refits import enough, refitted
from tests.faults.stage import Stage, Violation

# Seconds; a start takes a third of them where the machine is busy.
_REACHED = 90.0
_LOOK = 0.0005
_ALIKE = 5.0
_SIGNALS = {"TERM": signal.SIGTERM, "INT": signal.SIGINT}


def kill_at(stage: Stage, point: str, nth: int, whom: str) -> None:
    """Kill the stream at a named point, while pictures go on landing."""
    stage.arm(point, nth, whom)
    _until_struck(stage, lambda: stage.ledger.land(2))
    stage.disarm(point)


def kill_in_micro_batch(stage: Stage, point: str, nth: int) -> None:
    """Kill the stream between the plan of a micro-batch and its commit, or between that and Spark's own log of it.

    Both lie within the JVM: they are seen from outside, by the files that it writes.
    """
    stage.streaming()
    stream, end = stage.stream, time.monotonic() + _REACHED
    assert stream is not None
    met = 0
    while stream.alive and time.monotonic() < end:
        stage.ledger.land(2)
        if not _seen(stage, stream, point):
            continue
        met += 1
        if met >= nth:
            stream.kill()
            stage.kills[point] += 1
            return
        stream.go_on()
    stage.note(f"{point} was not met")
    stream.go_on()


def kill_after(stage: Stage, seconds: float, whom: str) -> None:
    """Kill the stream after a while, from its start."""
    stage.tend()
    stage.ledger.land(6)
    stage.wait(seconds)
    if stage.stream is not None and stage.stream.alive:
        stage.drop(whom)
        stage.kills[f"at random, {whom}"] += 1


def kill_in_adoption(stage: Stage, point: str, whom: str) -> None:
    """Delete the checkpoint, and kill the stream at a point of the adoption that this calls for."""
    stage.featurizing()
    stage.drop()
    checkpoints.harm(stage, "deleted")
    stage.ledger.land(12)
    stage.arm(point, 1, whom)
    _until_struck(stage)
    stage.disarm(point)


def kill_in_refit(stage: Stage, point: str, whom: str, repaired: bool) -> None:
    """Kill a refit at a named point; the next one repairs what is left, now or at the end."""
    enough(stage)
    stage.arm(point, 1, whom)
    process = stage.launch("refit", "--vacuum-days", "0")
    stage.until(lambda: not process.alive, 120)
    process.kill()
    stage.disarm(point)
    if repaired:
        refitted(stage)


def kill_refit_after(stage: Stage, seconds: float) -> None:
    """Kill a refit after a while."""
    enough(stage)
    process = stage.launch("refit")
    stage.until(lambda: not process.alive, seconds)
    if process.alive:
        stage.kills["refit at random"] += 1
    process.kill()


def kill_in_request(stage: Stage, point: str, whom: str) -> None:
    """Kill the stream after it has done what a command asked for, before it has said so."""
    stage.streaming()
    stage.arm(point, 1, whom)
    process = stage.launch("upkeep", "--vacuum-days", "0")
    _until_struck(stage)
    stage.disarm(point)
    stage.until(lambda: not process.alive, 60)
    process.kill()


def terminate(stage: Stage, seconds: float, signal: str) -> None:
    """Ask the stream to end, at any time of its life; it must do so, and well."""
    stage.tend()
    stage.ledger.land(4)
    stage.wait(seconds)
    stream = stage.stream
    if stream is None or not stream.alive:
        return
    stream.signal(_SIGNALS[signal])
    code = stream.wait(60)
    if code is None:
        raise Violation(f"SIG{signal} did not end the stream within 60 s: {stream.last_lines()}")
    # Before Python has taken the signals over, it ends as any program does.
    if code not in (0, 130, -_SIGNALS[signal]):
        raise Violation(f"SIG{signal} ended the stream with {code}: {stream.last_lines()}")
    stage.kills[f"SIG{signal}"] += 1


def _until_struck(stage: Stage, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Wait until the armed point has struck and its process has died."""
    end = time.monotonic() + _REACHED
    while not stage.struck() and time.monotonic() < end:
        meanwhile()
        stage.wait(1.0)


def _seen(stage: Stage, stream: Process, point: str) -> bool:
    """Hold the stream as soon as a point of a micro-batch is met; False where it was past it by then."""
    since = checkpoints.numbers(stage, "commits")
    end = time.monotonic() + _ALIKE
    while time.monotonic() < end and stream.alive:
        planned = checkpoints.numbers(stage, "offsets") - since
        if planned and (point == "batch-planned" or max(planned) <= checkpoints.sunk(stage)):
            stream.stop()
            between = max(planned) not in checkpoints.numbers(stage, "commits")
            if between and (point == "batch-committed") == (max(planned) <= checkpoints.sunk(stage)):
                return True
            stream.go_on()
            return False
        time.sleep(_LOOK)
    return False
