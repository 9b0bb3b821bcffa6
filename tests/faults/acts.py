"""What can happen to a lake and its landing: each act is a function of the stage, by its name in a schedule."""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.processes import Process
from tests.faults.schedule import Step
from tests.faults.stage import IDLE_SECONDS, Stage, Violation

_REACHED = 40.0
_LOOK = 0.0005
_ALIKE = 5.0
_LEASED = 12.0


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
    stage.until(lambda: stage.tables.rows("features") > 0, 60)


def land_endless(stage: Stage) -> None:
    """Let a picture land on which the decoder hangs, among others."""
    stage.ledger.land(3)
    stage.ledger.land_endless()
    stage.ledger.land(3)


def refit(stage: Stage) -> None:
    """Refit, beside the stream."""
    _enough(stage)
    _refitted(stage)


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
    stage.until(lambda: stage.tables.rows("features") > 0, 60)
    stage.drop()
    _checkpoints(stage, "deleted")
    stage.ledger.land(12)
    stage.arm(point, 1, whom)
    _until_struck(stage)
    stage.disarm(point)


def kill_in_refit(stage: Stage, point: str, whom: str, repaired: bool) -> None:
    """Kill a refit at a named point; the next one repairs what is left, now or at the end."""
    _enough(stage)
    stage.arm(point, 1, whom)
    process = stage.launch("refit", "--vacuum-days", "0")
    stage.until(lambda: not process.alive, 120)
    process.kill()
    stage.disarm(point)
    if repaired:
        _refitted(stage)


def kill_refit_after(stage: Stage, seconds: float) -> None:
    """Kill a refit after a while."""
    _enough(stage)
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


def harm_worker(stage: Stage, harm: str) -> None:
    """Kill a Python worker, crash it, hold it, or take its memory away, while it works."""
    stage.streaming()
    stream = stage.stream
    assert stream is not None
    stage.ledger.land(24)
    if not stage.until(lambda: bool(stream.workers()), 30):
        stage.note("no worker was met")
        return
    stage.wait(stage.random.uniform(0, 0.5))
    victims = stream.workers()
    if not victims:
        return
    victim = stage.random.choice(victims)
    stage.kills[f"worker, {harm}"] += 1
    _harm(victim, harm)
    if harm == "STOP":
        # Spark ends a silent worker by SIGTERM, which a stopped process takes when it goes on.
        stage.wait(IDLE_SECONDS + 4)
        _harm(victim, "CONT")


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


def fill_disk(stage: Stage, seconds: float) -> None:
    """Let the disk of the lake be full for a while."""
    stage.ledger.land(10)
    filler = stage.folder / "disk" / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    stage.wait(seconds)
    stage.ledger.land(4)
    stage.wait(1)
    filler.unlink()
    stage.kills["disk full"] += 1


def harm_checkpoint(stage: Stage, harm: str) -> None:
    """Take a checkpoint away, cut it, or put another lake's or an older one in its place, while nothing runs."""
    stage.until(lambda: stage.tables.rows("features") > 0, 60)
    stage.drop()
    if harm == "older":
        kept = _copied(stage)
        stage.ledger.land(8)
        before = stage.tables.rows("features")
        stage.until(lambda: stage.tables.rows("features") > before, 60)
        stage.drop()
        _replace(stage, kept)
    else:
        _checkpoints(stage, harm)
    stage.kills[f"checkpoint {harm}"] += 1
    stage.ledger.land(5)


def step_clock(stage: Stage, seconds: float, back: bool) -> None:
    """Set the clock forward or back by a day while the stream runs, and perhaps back to what it was."""
    stage.streaming()
    stage.turn_clock(seconds)
    stage.ledger.land(6)
    stage.wait(3)
    if back:
        stage.turn_clock(0)
        stage.ledger.land(6)
        stage.wait(2)
    stage.kills["clock"] += 1


def second_driver(stage: Stage) -> None:
    """Start a second stream on the same lake: it must be refused, and nothing disturbed."""
    stage.streaming()
    stage.ledger.land(8)
    second = stage.second()
    stage.until(lambda: not second.alive, 40)
    code, said = second.code, second.last_lines()
    second.kill()
    # The first one may have been started anew meanwhile, and so have become the second.
    if code in (0, None) or "another process writes this lake" not in said:
        raise Violation(f"lease: a second driver ended with {code}: {said}")
    stage.kills["second driver"] += 1


def all_at_once(stage: Stage) -> None:
    """Let stream, refit, upkeep and vacuum go on side by side, while pictures come and go."""
    stage.streaming()
    _enough(stage)
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


def trouble_storage(stage: Stage, share: float, seed: int) -> None:
    """Let a share of all requests to the object store fail, until the end of the schedule."""
    from tests.storage.proxy import Faults

    assert stage.backend is not None
    stage.backend.proxy.set(Faults(share=share, seed=seed))
    stage.kills["proxy"] += 1


def replace_stopped(stage: Stage, whom: str) -> None:
    """Hold the driver for longer than its lease, let another take over, then wake the first."""
    stage.streaming()
    stage.ledger.land(10)
    held = stage.stream
    assert held is not None
    _stop(held, whom)
    stage.stream = None
    before = stage.tables.rows("features")
    stage.ledger.land(10)
    stage.until(lambda: stage.tables.rows("features") > before, 60)
    held.go_on()
    stage.ledger.land(6)
    if held.wait(60) is None:
        held.kill()
        raise Violation("lease: a driver that lost its lease went on for 60 s")
    stage.note(f"the stopped driver ended with {held.code}")
    held.kill()
    stage.kills[f"stopped driver, {whom}"] += 1


def _until_struck(stage: Stage, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Wait until the armed point has struck and its process has died."""
    end = time.monotonic() + _REACHED
    while not stage.struck() and time.monotonic() < end:
        meanwhile()
        stage.wait(1.0)


def _refitted(stage: Stage) -> None:
    """Refit until it succeeds, as a scheduler does; at most a few times."""
    for _ in range(4):
        code, said = stage.run("refit")
        if code == 0:
            return
        stage.note(f"refit ended with {code}: {said}")
        stage.wait(1)
    raise Violation(f"I7: a refit failed four times: {said}")


def _enough(stage: Stage) -> None:
    """Wait until there is something to refit."""
    stage.ledger.land(4, bad=0)
    stage.until(lambda: stage.tables.rows("features") >= 12, 60)


def _seen(stage: Stage, stream: Process, point: str) -> bool:
    """Hold the stream as soon as a point of a micro-batch is met; False where it was past it by then."""
    since = _numbers(stage, "commits")
    end = time.monotonic() + _ALIKE
    while time.monotonic() < end and stream.alive:
        planned = _numbers(stage, "offsets") - since
        if planned and (point == "batch-planned" or max(planned) <= _sunk(stage)):
            stream.stop()
            between = max(planned) not in _numbers(stage, "commits")
            if between and (point == "batch-committed") == (max(planned) <= _sunk(stage)):
                return True
            stream.go_on()
            return False
        time.sleep(_LOOK)
    return False


def _numbers(stage: Stage, kind: str) -> set[int]:
    found: set[int] = set()
    for folder in _checkpoint_folders(stage):
        try:
            found |= {int(entry.name) for entry in os.scandir(folder / kind) if entry.name.isdecimal()}
        except OSError:
            continue
    return found


def _sunk(stage: Stage) -> int:
    """Return the last micro-batch that the newest commits of features tell of."""
    log = Path(stage.lake) / "features" / "_delta_log"
    try:
        newest = sorted(entry.name for entry in os.scandir(log) if entry.name.endswith(".json"))[-3:]
        texts = [(log / name).read_text() for name in newest]
    except OSError:
        return -1
    actions = [json.loads(line) for text in texts for line in text.splitlines() if line.startswith('{"txn"')]
    # Adoptions are transactions, too, of an application of another name.
    return max((each["txn"]["version"] for each in actions if "verger" not in each["txn"]["appId"]), default=-1)


def _checkpoint_folders(stage: Stage) -> list[Path]:
    return [each for each in (Path(stage.lake) / "checkpoints").glob("*") if (each / "metadata").exists()]


def _checkpoints(stage: Stage, harm: str) -> None:
    if stage.backend is not None:
        _delete_objects(stage)
        return
    for folder in _checkpoint_folders(stage):
        if harm == "deleted":
            shutil.rmtree(folder)
        elif harm == "truncated":
            victim = stage.random.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
            stage.note(f"cut {victim.relative_to(folder)}")
            victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
        elif harm == "foreign":
            for path in sorted(folder.glob("offsets/[0-9]*")):
                _rewritten(path, '"reservoirId":"', '"reservoirId":"0')


def _rewritten(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))
    path.with_name(f".{path.name}.crc").unlink(missing_ok=True)


def _delete_objects(stage: Stage) -> None:
    assert stage.backend is not None
    client, bucket = stage.backend.cloud.client("s3"), stage.lake.split("/")[2]
    for each in client.list_objects_v2(Bucket=bucket, Prefix="lake/checkpoints/").get("Contents", ()):
        client.delete_object(Bucket=bucket, Key=each["Key"])


def _copied(stage: Stage) -> Path:
    kept = stage.folder / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(Path(stage.lake) / "checkpoints", kept)
    return kept


def _replace(stage: Stage, kept: Path) -> None:
    shutil.rmtree(Path(stage.lake) / "checkpoints")
    shutil.copytree(kept, Path(stage.lake) / "checkpoints")


def _harm(worker: int, harm: str) -> None:
    try:
        if harm == "memory":
            used = int(Path(f"/proc/{worker}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(worker, resource.RLIMIT_AS, (used, used))
        else:
            os.kill(worker, _SIGNALS[harm])
    except (ProcessLookupError, FileNotFoundError):
        return


def _stop(process: Process, whom: str) -> None:
    if whom == "all":
        process.stop()
    else:
        process.signal(signal.SIGSTOP)


def mounted(folder: Path, megabytes: int) -> bool:
    """Give a folder a small disk of its own; False where this process may not."""
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmounted(folder: Path) -> None:
    """Take the disk away again."""
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


_SIGNALS = {
    "KILL": signal.SIGKILL,
    "SEGV": signal.SIGSEGV,
    "STOP": signal.SIGSTOP,
    "CONT": signal.SIGCONT,
    "TERM": signal.SIGTERM,
    "INT": signal.SIGINT,
}
ACTS: dict[str, Callable[..., None]] = {
    each.__name__: each
    for each in (
        land,
        overwrite,
        delete,
        dribble,
        wait,
        started,
        land_endless,
        refit,
        kill_at,
        kill_in_micro_batch,
        kill_after,
        kill_in_adoption,
        kill_in_refit,
        kill_refit_after,
        kill_in_request,
        harm_worker,
        terminate,
        fill_disk,
        harm_checkpoint,
        step_clock,
        second_driver,
        all_at_once,
        retry,
        trouble_storage,
        replace_stopped,
    )
}
