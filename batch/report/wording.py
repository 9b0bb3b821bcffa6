"""Numbers, shares, spans, moments of time and names as a person reads them; what is not known is a dash."""

import math
from datetime import UTC, datetime

from conf.printable import printable

UNKNOWN = "–"
# Each unit in seconds, and as many of it as make one of the next.
_UNITS = ((1, "s", 60), (60, "min", 60), (3600, "h", 24), (86400, "d", math.inf))


def named(name: str | None) -> str:
    """Return the name of a label; None stands for pictures without one."""
    return "no label" if name is None else printable(name) or "(empty name)"


def count(value: int) -> str:
    """Return a whole number with its thousands set apart."""
    return f"{value:,}"


def counted(value: int, one: str, many: str = "") -> str:
    """Return how many of something there are; `many` is what several are called, if not `one` with an s."""
    return f"{value:,} {one if value == 1 else many or f'{one}s'}"


def measure(value: float | None) -> str:
    """Return a measured number to three figures, without an exponent where that can be."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        figures = 0 if value == 0 else 2 - math.floor(math.log10(abs(value)))
        return f"{value:,.{max(figures, 0)}f}"
    return f"{value:.2e}"


def angle(degrees: float | None) -> str:
    """Return an angle; one below a thousandth of a degree is none, as rounding alone makes some."""
    if degrees is None or not math.isfinite(degrees):
        return UNKNOWN
    return f"{measure(degrees if abs(degrees) >= 1e-3 else 0)}°"


def share(value: float | None) -> str:
    """Return a part of 1 in per cent."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    percent = 100 * value
    return f"{percent:.{1 if abs(percent) < 99.95 else 0}f} %"


def span(seconds: float | None) -> str:
    """Return a length of time in the greatest unit of which it is one or more, to three figures or to whole days."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if abs(round(1000 * seconds)) < 1000:
        return f"{1000 * seconds:.0f} ms"
    rounded = ((_rounded(seconds / size), unit, most) for size, unit, most in _UNITS)
    value, unit = next((value, unit) for value, unit, most in rounded if abs(value) < most)
    return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:g} {unit}"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}") if abs(value) < 999.5 else float(round(value))


def aware(when: datetime) -> datetime:
    """Return a moment with its zone; one that names none is taken for UTC."""
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def moment(when: datetime, *, seconds: bool = False) -> str:
    """Return a moment to the minute, or to the second, in UTC."""
    return f"{aware(when).astimezone(UTC):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}} UTC"


def times(value: float, spread: float) -> str:
    """Return how many times a spread a distance is."""
    return f"{value / spread:.1f} ×" if math.isfinite(value) and spread > 0 else UNKNOWN
