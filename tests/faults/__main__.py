"""Plays many schedules: `python -m tests.faults --minutes 30 --seed 1`."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock

from streaming.backbones.shelf import Compiled
from tests.faults import compilation
from tests.faults import schedule as drawing
from tests.faults.playing import Played, played
from tests.faults.schedule import Schedule, Store
from tests.faults.stage import BACKBONE, COMPILER, Backend
from tests.storage import cloud
from tests.storage.proxy import proxying


def main() -> int:
    """Play, and return 1 if a rule was broken."""
    given = _arguments()
    show = _Show(
        iter([Schedule.of(given.schedule)]) if given.schedule else _drawn(given),
        compilation.compiled(BACKBONE, given.backbones),
        time.monotonic() + 60 * given.minutes,
        given.found,
        verbose=given.verbose,
    )
    with ExitStack() as stack, ThreadPoolExecutor(given.lanes) as threads:
        backends = list(islice(_backends(stack, wanted=bool(given.s3_every or given.schedule)), given.lanes))
        for each in [threads.submit(show.play, backend) for backend in backends]:
            each.result()
    print(_summary(show.results))
    return int(any(each.violations for each in show.results) or not show.results)


def _backends(stack: ExitStack, *, wanted: bool) -> Iterator[Backend | None]:
    """Yield a proxy for each lane before one cloud: the way to it is one of the whole process."""
    services = stack.enter_context(cloud.running()) if wanted else None
    while True:
        yield Backend(services, stack.enter_context(proxying(services.endpoint))) if services else None


@dataclass
class _Show:
    """Plays schedules in several lanes at a time."""

    schedules: Iterator[Schedule]
    compiled: Compiled
    end: float
    found: Path | None
    verbose: bool
    results: list[Played] = field(default_factory=list)
    _turn: Lock = field(default_factory=Lock)

    def play(self, backend: Backend | None) -> None:
        """Play one schedule after the other until time or schedules are over."""
        while (one := self._next()) is not None:
            with tempfile.TemporaryDirectory(prefix="verger-faults-", ignore_cleanup_errors=True) as folder:
                start = time.monotonic()
                services = backend if one.store == "s3" else None
                done = played(one, Path(folder) / "stage", self.compiled, services, found=self.found)
            self.results.append(done)
            _tell(done, time.monotonic() - start, len(self.results), verbose=self.verbose)

    def _next(self) -> Schedule | None:
        with self._turn:
            return next(self.schedules, None) if time.monotonic() < self.end else None


def _tell(done: Played, seconds: float, number: int, *, verbose: bool) -> None:
    state = "VIOLATION" if done.violations else "ok"
    print(f"{number:4d}  seed {done.schedule.seed:<6d} {seconds:5.1f} s  {state}  {dict(done.kills)}", flush=True)
    if done.violations or verbose:
        print(done.story, flush=True)


def _summary(results: list[Played]) -> str:
    kills, reached = Counter[str](), Counter[str]()
    for each in results:
        kills += each.kills
        reached += each.reached
    rows = [f"  {times:5d}  {name}" for name, times in sorted(kills.items(), key=lambda each: -each[1])]
    seen = [f"  {times:5d}  {name}" for name, times in sorted(reached.items(), key=lambda each: -each[1])]
    return "\n".join(
        (
            f"{len(results)} schedules, {sum(each.landed for each in results):,} versions of pictures landed, "
            f"{sum(bool(each.violations) for each in results)} schedules with a violation",
            "faults:",
            *rows,
            "points reached:",
            *seen,
        )
    )


def _drawn(given: argparse.Namespace) -> Iterator[Schedule]:
    for seed in range(given.seed, given.seed + given.schedules):
        store: Store = "s3" if given.s3_every and seed % given.s3_every == 0 else "folder"
        one = drawing.draw(seed, store, given.first, given.faults)
        if "step_clock" in one.acts and not COMPILER:
            print(f"      seed {seed}: left out, no C compiler for the false clock (apt-get install gcc libc6-dev)")
            continue
        yield one


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="begin no schedule after so long")
    parser.add_argument("--schedules", type=int, default=100_000, help="at most")
    parser.add_argument("--seed", type=int, default=1, help="of the first one; the next have the next numbers")
    parser.add_argument(
        "--first",
        default="",
        help=f"the first fault of each: {', '.join(sorted({*drawing.FAULTS['folder'], *drawing.FAULTS['s3']}))}",
    )
    parser.add_argument("--faults", type=int, default=0, help="faults of each; 0: two to four")
    parser.add_argument("--s3-every", type=int, default=0, help="every how many-th is on object storage; 0: none")
    parser.add_argument("--lanes", type=int, default=2, help="schedules at a time")
    parser.add_argument("--schedule", type=Path, help="a file with the line of one schedule, to repeat it")
    parser.add_argument("--backbones", type=Path, help="folder that keeps the compiled backbone for the next run")
    parser.add_argument("--verbose", action="store_true", help="tell every schedule's story")
    parser.add_argument("--found", type=Path, help="folder that gets the stories, logs and lakes of violations")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
