"""What a look at a landing gives: versions of pictures, and what was passed over."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Found:
    """One version of one picture as the landing shows it: an arrival, if it is new."""

    uri: str
    e_tag: str
    landed_at: datetime
    size: int
    version: str | None = None


@dataclass(frozen=True)
class Sighting:
    """What was passed over in one listing.

    Attributes
    ----------
    passed_over : Counter of str
        Files by why they do not count: `hidden`, `temporary`, `skipped` (by extension), `special` (pipes, devices),
        `linked_inside` (links to what the listing meets anyway), `unreadable_folder`.
    young : int
        Files that wait because they may still be growing.
    """

    passed_over: Counter[str] = field(default_factory=Counter)
    young: int = 0
