"""Trial: one task through the child, and through isolation where the child does not come through it."""

from dataclasses import replace

from streaming.isolate import Decoder
from tests.fuzz.child import Child, Ended
from tests.fuzz.isolation import isolated
from tests.fuzz.outcome import NO_ROOM
from tests.fuzz.witness import Observation, Task


class Trial:
    """A decoder on trial.

    Parameters
    ----------
    decode : Decoder
        A function of a module.
    seconds : float
        The longest that a picture may take, here and in isolation.
    """

    def __init__(self, decode: Decoder, seconds: float) -> None:
        self._decode, self._seconds = decode, seconds
        self.child = Child(decode, seconds)
        self._crowded: set[str] = set()

    def __enter__(self) -> "Trial":
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close()

    def of(self, task: Task) -> Observation:
        """Decode.

        A picture that takes too long, or more room than there is, is no fault where isolation gives it a listed
        reason in time. A native crash is one even so.
        """
        try:
            seen = self.child.observe(task)
        except TimeoutError:
            return isolated(self._decode, task, self._seconds)
        except Ended as ended:
            apart = isolated(self._decode, task, self._seconds)
            return replace(apart, faults=(f"crashed: {ended}", *apart.faults))
        if seen.outcome.result == NO_ROOM and seen.outcome.said not in self._crowded:
            self._crowded.add(seen.outcome.said)  # isolation is asked once for each kind: it takes its time
            return replace(seen, faults=seen.faults + isolated(self._decode, task, self._seconds).faults)
        return seen
