"""Growing: what gave an outcome of its own becomes a case of the corpus, as small as it can be made."""

from collections.abc import Iterable

from streaming.isolate import Decoder
from tests.fuzz.corpus import Case
from tests.fuzz.outcome import LISTED, PICTURE
from tests.fuzz.search import room
from tests.fuzz.smaller import smaller
from tests.fuzz.trial import Trial
from tests.fuzz.witness import Task
from tests.unit.pictures import LIMIT, STILL

_KEPT = frozenset({PICTURE, *LISTED})
_LONGEST = 4096
_TRIES = 300


def grown(corpus: Iterable[Case], found: Iterable[bytes], decode: Decoder, patience: float = 10.0) -> list[Case]:
    """Add to a corpus what it lacks.

    Parameters
    ----------
    corpus : iterable of Case
        What there is.
    found : iterable of bytes
        Whatever gave an outcome of its own in some run.
    decode : Decoder
        A function of a module.
    patience : float
        Seconds that a picture may take.

    Returns
    -------
    list of Case
        One for each outcome; what needs more room or time than there is, or breaks a promise, is left out.
    """
    cases = {case.outcome: case for case in corpus}
    with Trial(decode, patience) as trial:
        for data in sorted(found, key=len):
            case = _case(trial, data)
            if case.outcome.result in _KEPT and case.outcome not in cases:
                least = _least(trial, case)
                if len(least.data) <= _LONGEST:
                    cases[case.outcome] = least
    return list(cases.values())


def renewed(corpus: Iterable[Case], decode: Decoder, patience: float = 10.0) -> list[Case]:
    """Give the files of a corpus with what they end in now, after an upgrade of Pillow for example."""
    with Trial(decode, patience) as trial:
        return [_case(trial, case.data) for case in corpus]


def _least(trial: Trial, case: Case) -> Case:
    return Case(smaller(case.data, lambda data: _case(trial, data) == Case(data, case.outcome), _TRIES), case.outcome)


def _case(trial: Trial, data: bytes) -> Case:
    return Case(data, trial.of(Task(data, STILL, LIMIT, room(LIMIT))).outcome)
