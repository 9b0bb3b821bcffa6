"""The long run: one stream as a process, pictures dropped all the while, and what grows with the micro-batches.

The run is cut into fifths, the first of which is warm-up. A measure is flat where its median in the last fifth is at
most 1.2 times that of the second. Upkeep and the audit come every minute, so that they happen many times. Needs Linux,
for its /proc. Run with `python -m tests.bench.soak [--batches N] [--quick]`.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from conf.lake import LakePaths, create_lake
from tests.bench.wave import wave
from tests.places import local
from tests.spark.ledger import assert_complete

FLAT = 1.2
FIFTHS = 5
_QUICK_BATCHES = 20
_SAMPLES_PER_FIFTH = 10
_EVERY, _PICTURES = 0.5, 2
_DISTINCT = 200
_LONGEST_SILENCE = 300.0
_MEGABYTE = 1 << 20

# What is measured, in the order of the table, and its unit.
MEASURES = {
    "micro-batch": "s",
    "freshness p50": "s",
    "driver memory": "MB",
    "driver threads": "",
    "driver open files": "",
    "JVM memory": "MB",
    "JVM live heap": "MB",
    "JVM threads": "",
    "JVM open files": "",
    "workers' memory": "MB",
    "workers": "",
}


@dataclass(frozen=True)
class Sample:
    """One measure's value after so many micro-batches of the run."""

    measure: str
    batch: int
    value: float


@dataclass
class Heard:
    """What the stream has said so far, read on a thread from its standard error."""

    batches: list[Mapping[str, Any]] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        """Outcomes written."""
        return sum(each["pictures"] for each in self.batches)

    def listen(self, lines: Iterator[str]) -> None:
        """Take every line until the stream ends."""
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                self.troubles.append(line.rstrip())
                continue
            self.events[said["event"]] += 1
            if said["event"] == "micro-batch":
                self.batches.append(said)
            elif said["level"] != "info":
                self.troubles.append(line.rstrip())


def main() -> None:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=60, help="end earlier than that many micro-batches")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_BATCHES} micro-batches, to see that it runs")
    parser.add_argument("--backbone", default="efficientnet-lite0@64")
    asked = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("the soak reads what processes use from /proc: run it on Linux")
    batches = _QUICK_BATCHES if asked.quick else asked.batches
    with tempfile.TemporaryDirectory(prefix="verger-soak-", ignore_cleanup_errors=True) as folder:
        landing, lake = Path(folder) / "landing", create_lake(str(Path(folder) / "lake"))
        landing.mkdir()
        with _streaming(landing, lake, asked.backbone) as (process, heard):
            dropper = Dropper(wave(Path(folder) / "wave", _DISTINCT), landing, Path(folder) / "staging")
            began = time.monotonic()
            with dropper.dropping():
                samples = _watched(process, heard, batches, asked.minutes)
            _drained(process, heard, dropper)
            seconds, batches = time.monotonic() - began, min(batches, len(heard.batches))
        assert_complete(lake, landing)
        print(f"\n{len(heard.batches)} micro-batches, {dropper.dropped:,} pictures, {seconds / 60:.0f} min")
        print(f"each picture has arrived and has exactly one outcome; events: {dict(heard.events)}")
        _print_sizes(lake)
    for trouble in heard.troubles:
        print(f"said: {trouble}")
    _print(samples + _of_batches(heard.batches[:batches]), batches)


class Dropper:
    """Drops pictures into a landing under new names, on a thread of its own.

    Parameters
    ----------
    pictures
        What is dropped, again and again.
    landing
        Where to.
    staging
        Beside the landing: a picture is moved in whole, as one that is still growing would arrive twice.
    """

    def __init__(self, pictures: Sequence[Path], landing: Path, staging: Path) -> None:
        self._pictures = pictures
        self._landing = landing
        self._staging = staging
        self._end = Event()
        self.dropped = 0

    @contextmanager
    def dropping(self) -> Iterator[None]:
        """Drop pictures for the length of a `with` block."""
        self._staging.mkdir()
        thread = Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def _run(self) -> None:
        while not self._end.wait(_EVERY):
            for _ in range(_PICTURES):
                self._drop()

    def _drop(self) -> None:
        picture = self._pictures[self.dropped % len(self._pictures)]
        whole = Path(shutil.copyfile(picture, self._staging / f"{self.dropped:07}.jpg"))
        whole.rename(self._landing / whole.name)
        self.dropped += 1


@contextmanager
def _streaming(landing: Path, lake: LakePaths, backbone: str) -> Iterator[tuple["subprocess.Popen[str]", Heard]]:
    given = {
        "landing": landing, "lake": lake.root, "backbone": backbone, "label": "none", "settle": 0, "poll": _EVERY,
        "trigger": 0, "upkeep": 60, "audit": 60, "cores": min(2, os.cpu_count() or 1),
    }  # fmt: skip
    arguments = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    process = subprocess.Popen(
        [sys.executable, "-m", "bootstrap.entry", "stream", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("VERGER_")},
    )
    heard = Heard()
    assert process.stderr is not None
    ear = Thread(target=heard.listen, args=(process.stderr,), daemon=True)
    ear.start()
    try:
        yield process, heard
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0, heard.troubles
        ear.join()
    finally:
        process.kill()


def _watched(process: "subprocess.Popen[str]", heard: Heard, batches: int, minutes: float) -> list[Sample]:
    """Take samples at even distances until so many micro-batches have happened, or the time is up."""
    distance = max(1, batches // (FIFTHS * _SAMPLES_PER_FIFTH))
    taken: list[Sample] = []
    measured, live = 0, 0
    last, at = 0, time.monotonic()
    end = at + minutes * 60
    while measured < batches and time.monotonic() < end:
        time.sleep(0.1)
        done = len(heard.batches)
        last, at = (last, at) if done == last else (done, time.monotonic())
        assert process.poll() is None, heard.troubles
        assert time.monotonic() - at < _LONGEST_SILENCE, ("no micro-batch for long", heard.troubles)
        if done >= measured + distance:
            measured = done
            taken += [Sample(name, done, value) for name, value in usage(process.pid).items()]
            # Finding out what is live makes the JVM collect everything: seldom enough not to hide what it would keep.
            if fifth(done, batches) > live:
                live = fifth(done, batches)
                print(f"{done} micro-batches, the run's fifth {live} of {FIFTHS}", flush=True)
                taken += [Sample("JVM live heap", done, value) for value in live_heap(process.pid)]
    return taken


def _drained(process: "subprocess.Popen[str]", heard: Heard, dropper: Dropper) -> None:
    """Wait until every picture that was dropped has its outcome."""
    deadline = time.monotonic() + _LONGEST_SILENCE
    while heard.pictures < dropper.dropped:
        assert process.poll() is None, heard.troubles
        assert time.monotonic() < deadline, (heard.pictures, dropper.dropped)
        time.sleep(0.1)


def usage(driver: int) -> dict[str, float]:
    """Return what a stream's processes use, by measure; those that are not there are left out."""
    children = _children()
    found: dict[str, float] = {}
    jvm = _jvm(driver, children)
    for who, process in (("driver", driver), ("JVM", jvm)):
        if process is not None:
            found[f"{who} memory"] = _pss(process)
            found[f"{who} threads"] = len(list(Path(f"/proc/{process}/task").iterdir()))
            found[f"{who} open files"] = len(list(Path(f"/proc/{process}/fd").iterdir()))
    if jvm is not None:
        workers = list(_below(jvm, children))
        found["workers"] = len(workers)
        found["workers' memory"] = sum(map(_pss, workers))
    return found


def live_heap(driver: int) -> Iterator[float]:
    """Yield the megabytes of live objects of the JVM, where there is a `jcmd` to ask."""
    jvm, jcmd = _jvm(driver, _children()), shutil.which("jcmd")
    if jvm is None or jcmd is None:
        return
    said = subprocess.run([jcmd, str(jvm), "GC.class_histogram"], capture_output=True, text=True, check=False).stdout
    lines = said.splitlines()
    if lines and lines[-1].startswith("Total"):
        yield int(lines[-1].split()[2]) / _MEGABYTE


def _jvm(driver: int, children: Mapping[int, Sequence[int]]) -> int | None:
    return next((each for each in _below(driver, children) if _name(each) == "java"), None)


def _children() -> dict[int, list[int]]:
    """Return the children of every process of this machine."""
    found: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The command's name stands in parentheses and may hold anything.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(status.parent.name))
    return found


def _below(process: int, children: Mapping[int, Sequence[int]]) -> Iterator[int]:
    for child in children.get(process, ()):
        yield child
        yield from _below(child, children)


def _name(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/comm").read_text().strip()
    return ""


def _pss(process: int) -> float:
    """Return a process' resident megabytes, a page that several share counted in parts; 0 for one that has gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def fifth(batch: int, batches: int) -> int:
    """Return the fifth of the run, 1 to 5, to which the state after so many micro-batches belongs."""
    return min(FIFTHS, max(0, batch - 1) * FIFTHS // batches + 1)


def _of_batches(batches: Sequence[Mapping[str, Any]]) -> list[Sample]:
    return [
        Sample(measure, number, float(batch[name]))
        for number, batch in enumerate(batches, start=1)
        for measure, name in (("micro-batch", "seconds"), ("freshness p50", "freshness_p50"))
    ]


def medians(samples: Sequence[Sample], measure: str, batches: int) -> list[float]:
    """Return a measure's median in each fifth of the run; NaN where it has no sample."""
    values: dict[int, list[float]] = {}
    for each in samples:
        if each.measure == measure:
            values.setdefault(fifth(each.batch, batches), []).append(each.value)
    return [statistics.median(values[number]) if number in values else float("nan") for number in range(1, FIFTHS + 1)]


def verdict(middles: Sequence[float], batches: int) -> str:
    """Say whether a measure is flat, by its medians of the fifths, or else how fast it grows."""
    second, last = middles[1], middles[-1]
    if not (second >= 0 and last >= 0):
        return "too few samples"
    if not last > FLAT * second:
        return "flat"
    return f"grows by {(last - second) * 1000 / (batches * (FIFTHS - 2) / FIFTHS):.3g} per 1,000 micro-batches"


def _print(samples: Sequence[Sample], batches: int) -> None:
    print("\nmedians by fifths of the run\n")
    print(f"{'':24}{''.join(f'{number:>9}' for number in range(1, FIFTHS + 1))}   last / second")
    for measure, unit in MEASURES.items():
        middles = medians(samples, measure, batches)
        if all(each != each for each in middles):
            print(f"{measure:24}{'not measured':>45}")
            continue
        name = f"{measure}, {unit}" if unit else measure
        cells = "".join(f"{each:9.2f}" if unit == "s" else f"{each:9.0f}" for each in middles)
        ratio = middles[-1] / middles[1] if middles[1] else float("nan")
        print(f"{name:24}{cells}   {ratio:5.2f}  {verdict(middles, batches)}")


def _print_sizes(lake: LakePaths) -> None:
    for folder in sorted(each for each in local(lake.root).iterdir() if each.is_dir()):
        files = [each for each in folder.rglob("*") if each.is_file()]
        print(f"  {folder.name:12} {len(files):6,} files {sum(each.stat().st_size for each in files) / 1e6:8.1f} MB")


if __name__ == "__main__":
    main()
