"""Harm done to what the program stands on: pictures, workers, the disk, checkpoints, the clock, the object store."""

import os
import resource
import signal
import subprocess
from pathlib import Path

from tests.faults import checkpoints
from tests.faults.stage import IDLE_SECONDS, Stage
from tests.storage.proxy import Faults

_SIGNALS = {
    "KILL": signal.SIGKILL,
    "SEGV": signal.SIGSEGV,
    "STOP": signal.SIGSTOP,
    "CONT": signal.SIGCONT,
}


def land_endless(stage: Stage) -> None:
    """Let a picture land on which the decoder hangs, among others."""
    stage.ledger.land(3)
    stage.ledger.land_endless()
    stage.ledger.land(3)


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
    stage.featurizing()
    stage.drop()
    if harm == "older":
        kept = checkpoints.copied(stage)
        stage.ledger.land(8)
        before = stage.tables.rows("features")
        stage.until(lambda: stage.tables.rows("features") > before, 60)
        stage.drop()
        checkpoints.replace(stage, kept)
    else:
        checkpoints.harm(stage, harm)
    stage.kills[f"checkpoint {harm}"] += 1
    stage.ledger.land(5)


def step_clock(stage: Stage, seconds: float, back: bool) -> None:
    """Set the clock forward or back by a day while the queries run, and perhaps back to what it was."""
    stage.streaming()
    stage.featurizing()
    stage.turn_clock(seconds)
    stage.ledger.land(6)
    stage.wait(3)
    if back:
        stage.turn_clock(0)
        stage.ledger.land(6)
        stage.wait(2)
    stage.kills["clock"] += 1


def trouble_storage(stage: Stage, share: float, seed: int) -> None:
    """Let a share of all requests to the object store fail, until the end of the schedule."""
    assert stage.backend is not None
    stage.backend.proxy.set(Faults(share=share, seed=seed))
    stage.kills["proxy"] += 1


def _harm(worker: int, harm: str) -> None:
    try:
        if harm == "memory":
            used = int(Path(f"/proc/{worker}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(worker, resource.RLIMIT_AS, (used, used))
        else:
            os.kill(worker, _SIGNALS[harm])
    except (ProcessLookupError, FileNotFoundError):
        return


def mounted(folder: Path, megabytes: int) -> bool:
    """Give a folder a small disk of its own; False where this process may not."""
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmounted(folder: Path) -> None:
    """Take the disk away again."""
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)
