"""Report: what a run has seen, added up and printed."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from conf.rejections import Reason
from tests.fuzz.outcome import NO_ROOM, PICTURE, Outcome

_MEGABYTE = 1 << 20
_COLUMNS = (
    *(PICTURE, Reason.NOT_A_PICTURE, Reason.TOO_MANY_PIXELS, Reason.TRUNCATED, Reason.CORRUPT, Reason.EMPTY),
    *(NO_ROOM, Reason.CRASHED, Reason.TIMED_OUT),
)


@dataclass(frozen=True, order=True)
class Extreme:
    """The greatest value of a kind, and the input that gave it."""

    value: float = 0.0
    data: bytes = field(default=b"", compare=False, repr=False)
    about: str = field(default="", compare=False)


@dataclass(frozen=True)
class Violation:
    """An input that broke a promise, as small as it could be made."""

    fault: str
    number: int
    about: str
    data: bytes = field(repr=False)


@dataclass
class Report:
    """What a run has seen.

    Attributes
    ----------
    seed : int
    executions, starts : int
        Pictures tried, and processes that it took.
    seconds : float
        Wall time.
    outcomes : Counter of Outcome
    lines : set of str
        Of Pillow's Python and the decoder, that were run.
    peak, slowest : Extreme
        Bytes, and seconds, of one picture.
    grown : Extreme
        By how many bytes a process had grown, from its thousandth picture to its last.
    faults : Counter of str
        How often each promise was broken.
    violations : list of Violation
        One for each kind of fault.
    """

    seed: int
    executions: int = 0
    starts: int = 0
    seconds: float = 0.0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    lines: set[str] = field(default_factory=set)
    peak: Extreme = Extreme()
    slowest: Extreme = Extreme()
    grown: Extreme = Extreme()
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def plus(self, other: "Report") -> "Report":
        """Add the report of a run beside this one."""
        return Report(
            seed=self.seed,
            executions=self.executions + other.executions,
            starts=self.starts + other.starts,
            seconds=max(self.seconds, other.seconds),
            outcomes=self.outcomes + other.outcomes,
            lines=self.lines | other.lines,
            peak=max(self.peak, other.peak),
            slowest=max(self.slowest, other.slowest),
            grown=max(self.grown, other.grown),
            faults=self.faults + other.faults,
            violations=self.violations + other.violations,
        )

    def of_result(self, result: str) -> int:
        """Give how many executions ended so."""
        return sum(times for outcome, times in self.outcomes.items() if outcome.result == result)

    def progress(self) -> str:
        """Give a line for somebody who waits."""
        return (
            f"{self.seconds:6.0f} s: {self.executions:,} executions, {len(self.outcomes)} outcomes, "
            f"{len(self.lines):,} lines, peak {self.peak.value / _MEGABYTE:.0f} MB, "
            f"slowest {self.slowest.value:.2f} s, {sum(self.faults.values())} violations"
        )

    def table(self) -> Iterator[str]:
        """Yield the lines of the table."""
        yield "executions, and in brackets distinct messages"
        yield f"{'':8}" + "".join(f"{each:>17}" for each in _COLUMNS)
        for kind in sorted({outcome.kind for outcome in self.outcomes}):
            yield f"{kind:8}" + "".join(f"{self._cell(kind, result):>17}" for result in _COLUMNS)
        yield ""
        for name, value in self._figures():
            yield f"{name:24}{value}"
        for fault, times in self.faults.most_common():
            yield f"VIOLATION, {times} times: {fault}"
        for violation in self.violations:
            yield f"  execution {violation.number}, {len(violation.data)} bytes, {violation.about}: {violation.fault}"

    def _cell(self, kind: str, result: str) -> str:
        found = [times for each, times in self.outcomes.items() if (each.kind, each.result) == (kind, result)]
        return f"{sum(found):,} ({len(found)})" if found else "-"

    def _figures(self) -> Iterator[tuple[str, str]]:
        yield (
            "executions",
            f"{self.executions:,} in {self.seconds:,.0f} s, {self.executions / max(self.seconds, 1e-9):,.0f} a second",
        )
        yield "distinct outcomes", f"{len(self.outcomes)}"
        yield "lines reached", f"{len(self.lines):,} of Pillow's Python and the decoder"
        yield "peak memory", f"{self.peak.value / _MEGABYTE:,.0f} MB: {self.peak.about}"
        yield "slowest", f"{self.slowest.value:.2f} s of CPU, watched, or in isolation: {self.slowest.about}"
        yield "growth of a process", f"{self.grown.value / _MEGABYTE:.1f} MB: {self.grown.about}"
        yield "processes", f"{self.starts:,}"
        yield "no room, timed out", f"{self.of_result(NO_ROOM):,}, {self.of_result(Reason.TIMED_OUT):,}"
        yield "violations", f"{sum(self.faults.values()):,} of {len(self.faults)} kinds"

    def as_json(self) -> str:
        """Give the figures as a line of JSON."""
        return json.dumps(
            {
                "seed": self.seed,
                "executions": self.executions,
                "seconds": round(self.seconds, 1),
                "outcomes": len(self.outcomes),
                "lines": len(self.lines),
                "peak_bytes": int(self.peak.value),
                "slowest_seconds": round(self.slowest.value, 3),
                "grown_bytes": int(self.grown.value),
                "processes": self.starts,
                "results": {result: self.of_result(result) for result in _COLUMNS},
                "violations": sum(self.faults.values()),
                "faults": dict(self.faults),
            }
        )
