"""Takes one safeguard after the other out of a copy of the program: the suite must notice each.

`python -m tests.faults.mutants` plays a schedule that leans on the safeguard, with it and without it.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.faults import compilation
from tests.faults.playing import Played, played
from tests.faults.schedule import Schedule, Step, Store
from tests.faults.stage import BACKBONE, TREE, Backend
from tests.storage import cloud
from tests.storage.proxy import proxying

_COPIED = ("conf", "streaming", "batch", "bootstrap", "tests", "verger.py")


@dataclass(frozen=True)
class Mutant:
    """A safeguard, and how it is taken out.

    Attributes
    ----------
    name : str
        The safeguard.
    file : str
        Where it stands.
    old, new : str
        What stands there, once, and what takes its place.
    also : sequence of (str, str)
        The same, where two halves of the safeguard would stand in for one another.
    steps : sequence of Step
        What leans on it.
    told : str
        What the violation must say.
    """

    name: str
    file: str
    old: str
    new: str
    steps: Sequence[Step]
    told: str
    store: Store = "folder"
    also: Sequence[tuple[str, str]] = ()

    @property
    def cuts(self) -> list[tuple[str, str]]:
        """What stands there, and what takes its place."""
        return [(self.old, self.new), *self.also]

    @property
    def schedule(self) -> Schedule:
        """What is played."""
        return Schedule(1, self.store, {"batch-pictures": "512"}, self.steps)


def _step(act: str, **arguments: object) -> Step:
    return Step(act, arguments)


_BEGUN = (_step("land", number=16), _step("started"))
_OVERWRITTEN = [
    step
    for _ in range(8)
    for step in (_step("land", number=8), _step("overwrite", number=10), _step("wait", seconds=0.4))
]
MUTANTS = (
    Mutant(
        "dedupe in arrivals",
        "streaming/arrivals.py",
        "if not held and each not in self._recent]",
        "]",
        _BEGUN,
        "I2: arrived more than once",
    ),
    Mutant(
        "conditional fetch",
        "conf/storage.py",
        "if folder_e_tag(status) != e_tag:",
        "if False:",
        (*_BEGUN, *_OVERWRITTEN),
        "the bytes of another version",
    ),
    Mutant(
        "retry isolation",
        "streaming/worker.py",
        "_is_retry() if isolated is None else isolated",
        "False",
        (*_BEGUN, _step("land_endless")),
        "I7: the backlog did not drain",
    ),
    Mutant(
        "adoption",
        "streaming/keeper.py",
        "why = self._distrust or self._pipeline.fault()",
        'why = ""',
        (*_BEGUN, _step("harm_checkpoint", harm="older")),
        "I1: arrived, and has no outcome",
    ),
    Mutant(
        "lease of a folder",
        "conf/lease/folder.py",
        "if not _lock(descriptor):",
        "if False:",
        (*_BEGUN, _step("second_driver")),
        "lease: a second driver",
    ),
    Mutant(
        "lease fencing on object storage",
        "conf/lease/objects.py",
        "if found is None or found.record != self._record:",
        "if found is None:",
        (*_BEGUN, _step("replace_stopped", whom="all")),
        "lease: a driver that lost its lease",
        "s3",
        # The workers' own look.
        (("if found is None or found.record.token != self.token or found.record.released:", "if found is None:"),),
    ),
    Mutant(
        "atomic publication",
        "batch/publication.py",
        "        table.create_write_transaction(\n            [*removed, *added],\n",
        "        table.create_write_transaction(removed, 'append', table.schema(), list(COMPONENTS.partition_by))\n"
        "        table = open_table(place)\n"
        "        table.create_write_transaction(\n            [*added],\n",
        (*_BEGUN, _step("refit"), _step("land", number=8), _step("wait", seconds=2)),
        "of components shows none",
    ),
)


def main() -> int:
    """Play all, and return 1 if one goes unnoticed or an intact program is blamed."""
    given = _arguments()
    compiled = compilation.compiled(BACKBONE, given.backbones)
    failed = 0
    with ExitStack() as stack:
        backend = None
        for mutant in MUTANTS:
            if given.only not in mutant.name:
                continue
            if mutant.store == "s3" and backend is None:
                services = stack.enter_context(cloud.running())
                backend = Backend(services, stack.enter_context(proxying(services.endpoint)))
            for tree in (TREE, None) if given.intact else (None,):
                with tempfile.TemporaryDirectory(prefix="verger-mutants-", ignore_cleanup_errors=True) as folder:
                    place = tree or _mutated(mutant, Path(folder) / "tree")
                    services_of = backend if mutant.store == "s3" else None
                    done = played(mutant.schedule, Path(folder) / "stage", compiled, services_of, place)
                failed += not _tell(mutant, done, intact=tree is not None)
    return int(failed > 0)


def _tell(mutant: Mutant, done: Played, *, intact: bool) -> bool:
    """Print how it went; whether that is as it must be."""
    if intact:
        right = not done.violations
        print(
            f"{'ok  ' if right else 'FAIL'} {mutant.name}, in place: {'no violation' if right else done.story}",
            flush=True,
        )
        return right
    noticed = [each for each in done.violations if mutant.told in each]
    print(f"{'ok  ' if noticed else 'FAIL'} {mutant.name}, taken out: {(noticed or [done.story])[0][:300]}", flush=True)
    return bool(noticed)


def _mutated(mutant: Mutant, tree: Path) -> Path:
    """Copy the program without the safeguard."""
    for name in _COPIED:
        source = TREE / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    place = tree / mutant.file
    text = place.read_text()
    for old, new in mutant.cuts:
        if text.count(old) != 1:
            raise SystemExit(f"{mutant.name}: {mutant.file} does not hold `{old.strip()}` once: mend the list")
        text = text.replace(old, new)
    place.write_text(text)
    return tree


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="those whose name holds this")
    parser.add_argument("--intact", action="store_true", help="play each with its safeguard, too")
    parser.add_argument("--backbones", type=Path, help="folder that keeps the compiled backbone for the next run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
