"""Playing a schedule: its acts one after the other, then peace, and the rules."""

import shutil
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from streaming.backbones.shelf import Compiled
from tests.faults import acts, harms
from tests.faults.rules import Reader, Reference
from tests.faults.schedule import Schedule
from tests.faults.stage import TREE, Backend, Stage, Violation
from tests.storage.proxy import Faults

# Seconds without a new outcome, and in all.
_IDLE, _LONGEST = 180.0, 900.0
_DISK = 48


@dataclass(frozen=True)
class Played:
    """How a schedule ended.

    Attributes
    ----------
    schedule : Schedule
    violations : tuple of str
        Rules that were broken.
    kills : Counter
        Faults by kind.
    landed : int
        Versions of pictures.
    notes : tuple of str
        What happened.
    """

    schedule: Schedule
    violations: tuple[str, ...]
    kills: Counter[str]
    reached: Counter[str]
    landed: int
    notes: tuple[str, ...]

    @property
    def story(self) -> str:
        """What is needed to look into a violation and to repeat it."""
        said = "\n".join(f"  {note}" for note in self.notes)
        broken = "\n".join(f"  VIOLATION {each}" for each in self.violations)
        return (
            f"seed {self.schedule.seed}\n{broken}\nwhat happened:\n{said}\n"
            f"to repeat it: python -m tests.faults --schedule FILE, with this line in FILE:\n{self.schedule.to_json()}"
        )


def played(
    schedule: Schedule,
    folder: Path,
    compiled: Compiled,
    backend: Backend | None = None,
    tree: Path = TREE,
    found: Path | None = None,
) -> Played:
    """Play a schedule in an empty folder and check the rules afterwards; `found` gets what is left of a violation."""
    stage = Stage(folder, schedule, compiled, backend, tree)
    disk = "fill_disk" in schedule.acts and harms.mounted(folder / "disk", _DISK)
    violations: tuple[str, ...] = ()
    try:
        stage.prepare()
        for step in schedule.steps:
            acts.play(stage, step)
        violations = tuple(_settled(stage))
    except Violation as violation:
        violations = (str(violation),)
    except Exception:  # a defect of the suite is a failure, too, with its schedule
        violations = (traceback.format_exc(),)
    finally:
        stage.clear()
        if backend is not None:
            backend.proxy.set(Faults())
        if violations and found:
            _keep(stage, found / f"{schedule.store}-{schedule.seed}")
        if disk:
            harms.unmounted(folder / "disk")
    return Played(schedule, violations, stage.kills, stage.reached(), len(stage.ledger.versions), tuple(stage.notes))


def _keep(stage: Stage, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(stage.folder, place, ignore=shutil.ignore_patterns("tmp"))


def _settled(stage: Stage) -> list[str]:
    """Let the stream come to rest by itself, refit, and check everything."""
    if stage.backend is not None:
        stage.backend.proxy.set(Faults())
    stage.note("peace")
    reader = Reader(stage.tables, stage.ledger, Reference(stage.compiled), stage.retried)
    drained = _drained(stage, reader)
    stage.note("drained" if drained else "not drained")
    code = stage.end()
    broken = [] if code == 0 else [f"the stream ended with {code} when it was asked to"]
    if not drained:
        broken.append("I7: the backlog did not drain by itself")
    if _refits(stage.schedule):
        code, said = stage.run("refit")
        stage.note(said)
        if code:
            broken.append(f"I7: the last refit ended with {code}: {said}")
    return [*broken, *reader.violations()]


def _refits(schedule: Schedule) -> bool:
    """Whether a schedule is to end with a refit: where it had one, and some others, as a refit takes its time."""
    return any("refit" in act or act == "all_at_once" for act in schedule.acts) or schedule.seed % 4 == 0


def _drained(stage: Stage, reader: Reader) -> bool:
    """Wait until everything has its outcome, for as long as outcomes come; whether it has."""
    end, rows, moved = time.monotonic() + _LONGEST, -1, time.monotonic()
    while not reader.complete():
        if (now := stage.tables.rows("features")) != rows:
            rows, moved = now, time.monotonic()
        if time.monotonic() > min(end, moved + _IDLE):
            return False
        stage.wait(0.5)
    return True
