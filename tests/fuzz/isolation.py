"""Isolation: whether the product's own second attempt survives a picture that the first one did not."""

import os
import time
from contextlib import suppress

from conf.errors import IsolationError, Rejected
from conf.rejections import Reason
from streaming.isolate import Decoder, IsolatedDecoder
from tests.fuzz.outcome import LISTED, Outcome, of_error, of_picture
from tests.fuzz.witness import Observation, Task
from tests.unit.pictures import FILES

_GRACE = 5.0  # seconds to start the process and to kill it on a busy machine
_SOUND = FILES["png"]


def isolated(decode: Decoder, task: Task, seconds: float) -> Observation:
    """Decode as a task's second attempt does, in a process of its own, which must end with it.

    Parameters
    ----------
    decode : Decoder
        A function of a module.
    task : Task
        What is decoded.
    seconds : float
        The longest that it may take.

    Returns
    -------
    Observation
        Faults are: a reason that is not listed, no rejection within the time, or a process that lives on.
    """
    with IsolatedDecoder(decode, seconds, task.room) as decoder:
        decoder(_SOUND, task.preparation, task.pixel_limit)
        assert decoder._child is not None
        pid = decoder._child._process.pid
        began = time.monotonic()
        outcome, faults = _outcome(decoder, task)
        spent = time.monotonic() - began
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        faults.append("isolation: the process lives on")
    if spent > seconds + _GRACE:
        faults.append(f"isolation: {spent:.0f} s of {seconds:g}")
    return Observation(outcome, tuple(faults), spent)


def _outcome(decoder: IsolatedDecoder, task: Task) -> tuple[Outcome, list[str]]:
    try:
        return of_picture(task.data, decoder(task.data, task.preparation, task.pixel_limit)), []
    except Rejected as rejected:
        listed = rejected.reason in {*LISTED, Reason.CRASHED, Reason.TIMED_OUT}
        return of_error(task.data, rejected), [] if listed else [f"isolation: {rejected}"]
    except IsolationError as error:
        return of_error(task.data, error), [f"isolation: {error}"]
