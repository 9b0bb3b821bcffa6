"""Numbers, shares, spans and moments of time as a person reads them; what is not known is a dash."""

import math
from datetime import UTC, datetime

UNKNOWN = "–"
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def count(value: int) -> str:
    """Return a whole number with its thousands set apart."""
    return f"{value:,}"


def measure(value: float | None) -> str:
    """Return a measured number to three figures, without an exponent where that can be."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        figures = 0 if value == 0 else 2 - math.floor(math.log10(abs(value)))
        return f"{value:,.{max(figures, 0)}f}"
    return f"{value:.2e}"


def share(value: float | None) -> str:
    """Return a part of 1 in per cent."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    percent = 100 * value
    return f"{percent:.{1 if abs(percent) < 99.95 else 0}f} %"


def span(seconds: float | None) -> str:
    """Return a length of time in the unit that suits it."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if abs(seconds) < 1:
        return f"{1000 * seconds:.0f} ms"
    size, unit = next(each for each in _SPANS if abs(seconds) >= each[0])
    return f"{seconds / size:.3g} {unit}"


def moment(when: datetime) -> str:
    """Return a moment to the minute, in UTC; one that names no zone is taken for UTC."""
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return f"{aware.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def times(value: float, usual: float) -> str:
    """Return how many times the usual a distance is."""
    return f"{value / usual:.1f} ×" if math.isfinite(value) and usual > 0 else UNKNOWN
