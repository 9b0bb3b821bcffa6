"""What a proxy does to the requests it carries, and which request is struck next."""

import re
from dataclasses import dataclass
from random import Random

KINDS = ("slow_down", "internal_error", "reset", "truncated", "etag")


@dataclass(frozen=True)
class Faults:
    """Which requests suffer, how often and from what.

    Attributes
    ----------
    share : float
        From 0 to 1: how many of the requests concerned are struck.
    kinds : tuple of str
        Of `KINDS`, each as likely as the others:
        `slow_down` answers S3's 503, `internal_error` its 500; neither passes the request on.
        `reset` breaks the connection before a byte of the answer, as often without having passed the request on as
        after the server has done it.
        `truncated` ends the body of an answer to GET halfway; other requests are reset.
        `etag` changes the ETag of an answer to GET or HEAD; other requests, and answers without one, are slowed down.
    latency : float
        Seconds that each request concerned waits before it is passed on; requests wait at the same time.
    seed : int
        Equal seeds strike the same ones of equally many requests.
    only, spare : str
        Regular expressions, searched in `METHOD /path?query`: a request is concerned where `only` is found and `spare`
        is not. Empty, they concern and spare all and none.
    """

    share: float = 0.0
    kinds: tuple[str, ...] = KINDS
    latency: float = 0.0
    seed: int = 0
    only: str = ""
    spare: str = ""

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise ValueError(f"kinds {', '.join(unknown) or '(none)'}: take some of {', '.join(KINDS)}")

    def concern(self, request: str) -> bool:
        """Whether a request, `METHOD /path?query`, may suffer."""
        return bool(re.search(self.only, request)) and not (self.spare and re.search(self.spare, request))


@dataclass(frozen=True)
class Blow:
    """What strikes a request.

    Attributes
    ----------
    kind : str
        One of `KINDS`, or empty: nothing does.
    late : bool
        Whether a reset waits until the server has done what was asked.
    """

    kind: str = ""
    late: bool = False


class Dice:
    """Draws the fate of one request after another."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._random = Random(faults.seed)

    def roll(self) -> Blow:
        """Draw the fate of the next request concerned."""
        # Always three draws: which requests are struck does not depend on the kinds.
        struck, which, late = (self._random.random() for _ in range(3))
        if struck >= self.faults.share:
            return Blow()
        return Blow(self.faults.kinds[int(which * len(self.faults.kinds))], late < 0.5)
