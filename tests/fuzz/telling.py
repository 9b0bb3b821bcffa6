"""Telling: what somebody who waits for the fuzzer sees and finds."""

import hashlib
import json
from pathlib import Path

from tests.fuzz.report import Report, Violation

_EVERY = 60.0


class Telling:
    """Prints a line each minute; writes to a folder each violation as soon as it is found, and in the end extremes.

    Parameters
    ----------
    folder : Path
        Made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._next, self._known = folder, _EVERY, 0

    def __call__(self, report: Report) -> None:
        """Hear of an execution."""
        if report.seconds >= self._next:
            self._next += _EVERY
            print(report.progress(), flush=True)
        for violation in report.violations[self._known :]:
            self._keep(report.seed, violation)
        self._known = len(report.violations)

    def end(self, report: Report) -> None:
        """Write the pictures that took the longest and the most memory."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, extreme in (("slowest", report.slowest), ("hungriest", report.peak)):
            (self._folder / name).write_bytes(extreme.data)

    def _keep(self, seed: int, found: Violation) -> None:
        name = f"violation-{hashlib.sha256(found.data).hexdigest()[:8]}"
        again = f"--seed {seed} --executions {found.number}"
        said = {"again": again, "about": found.about, "fault": found.fault}
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_bytes(found.data)
        (self._folder / f"{name}.json").write_text(json.dumps(said, indent=1) + "\n")
        print(f"VIOLATION {found.fault}\n  {found.about}; {self._folder / name}; to repeat: {again}", flush=True)
