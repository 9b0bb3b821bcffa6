"""Supervision: what a query's failure calls for."""

from enum import Enum

_LONGEST_LINE = 300


class Fate(Enum):
    """What a failure calls for."""

    WAIT = "an outage of the landing or the lake: try again for as long as it takes"
    TRY = "nobody knows: try again a few times"
    END = "waiting cannot mend it"


# Names of errors and words of their messages, as they stand in a query's failure; the first that is found decides.
_SIGNS = (
    (Fate.END, ("DeniedError", "BackboneError", "UsageError", "LeaseLost")),
    (Fate.END, ("No space left on device", "Disk quota exceeded", "Read-only file system", "Permission denied")),
    (
        Fate.END,
        ("DELTA_VIOLATE_CONSTRAINT", "DELTA_FAILED_TO_MERGE_FIELDS", "DELTA_METADATA_MISMATCH", "DELTA_MISSING_COLUMN"),
    ),
    (Fate.END, ("DELTA_INVALID_PROTOCOL_VERSION", "DELTA_UNSUPPORTED_FEATURES", "UNRESOLVED_COLUMN")),
    (Fate.WAIT, ("StorageError", "LandingError", "LeaseUnsure")),
    (Fate.WAIT, ("Input/output error", "Stale file handle", "Transport endpoint")),
    (Fate.WAIT, ("ConnectException", "UnknownHostException", "SocketTimeout", "Connection reset", "SlowDown")),
)


def fate(failure: str) -> Fate:
    """Return what a failure calls for, by its text."""
    return next((each for each, signs in _SIGNS if any(sign in failure for sign in signs)), Fate.TRY)


def telling_line(failure: str) -> str:
    """Return the one line that matters of a query's failure: a worker's own exception, else the first."""
    lines = [line.rstrip() for line in failure.splitlines() if line.strip()]
    python = [place for place, line in enumerate(lines) if line.endswith("Traceback (most recent call last):")]
    raised = [line for line in lines[python[-1] + 1 :] if not line[0].isspace()] if python else lines
    return raised[0][:_LONGEST_LINE] if raised else "no reason given"
