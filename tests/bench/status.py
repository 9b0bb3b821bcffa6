"""What `verger status --json` costs as a process, on lakes of up to a million arrivals and outcomes.

A twentieth of the outcomes are rejections, for three reasons that occur in every file: the worst case, as one column of
each file is read. Once with about as many files as compaction leaves, once with more than it ever does. The bound is
what an operator waits for; what the imports take of it is printed beside, by a lake without a row.

Run with `python -m tests.bench.status [--quick]`.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from conf.lake import LakePaths, create_lake
from conf.rejections import Reason
from tests.bench.lakes import fill

BOUND = 5.0
_FEATURIZER = "bench"
_MILLION, _QUICK = 1_000_000, 20_000
_ROWS_PER_FILE = 5_000
_OF_A_HUNDRED = {Reason.CORRUPT.value: 1, Reason.GONE.value: 2, Reason.TRUNCATED.value: 2}
_REASONS = [*Counter(_OF_A_HUNDRED).elements(), *[None] * (100 - sum(_OF_A_HUNDRED.values()))]
_TIMES = 5


def main() -> None:
    """Measure, print, and fail where a status takes too long or is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    count = _QUICK if parser.parse_args().quick else _MILLION
    print(f"{'outcomes':>12}{'files':>8}{'status, s':>12}{'slowest, s':>12}{'of CPU, s':>12}")
    slowest = 0.0
    with tempfile.TemporaryDirectory(prefix="verger-bench-") as folder:
        for name, rows, outcomes in (("none", 0, 1), ("merged", count, 10_000), ("small", count, 2_500)):
            lake = create_lake(f"{folder}/{name}")
            fill(lake, _FEATURIZER, rows, _ROWS_PER_FILE, outcomes_per_commit=outcomes, reasons=_REASONS)
            took, busy, found = zip(*(_timed(lake) for _ in range(_TIMES)), strict=True)
            _check(found[0], rows)
            files = found[0]["tables"]["features"]["files"]
            median = statistics.median(took)
            print(f"{rows:>12,}{files:>8,}{median:>12.2f}{max(took):>12.2f}{statistics.median(busy):>12.2f}")
            slowest = max(slowest, median)
    sys.exit(slowest > BOUND)


def _timed(lake: LakePaths) -> tuple[float, float, dict[str, Any]]:
    """Return the seconds that a status takes, by the clock and of CPU, and what it says."""
    command = [sys.executable, "-m", "bootstrap.entry", "status", "--lake", str(lake.root), "--json"]
    start, busy = time.perf_counter(), _busy()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return time.perf_counter() - start, _busy() - busy, json.loads(done.stdout)


def _busy() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _check(found: dict[str, Any], rows: int) -> None:
    counted = [(each["outcomes"], each["rejections"]) for each in found["featurizers"]]
    rejections = {reason: count * rows // 100 for reason, count in _OF_A_HUNDRED.items()}
    if found["arrivals"] != rows or counted != ([(rows, rejections)] if rows else []):
        sys.exit(f"the status is wrong: {found}")


if __name__ == "__main__":
    main()
