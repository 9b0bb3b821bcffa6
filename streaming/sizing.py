"""How much one micro-batch takes, and into how many tasks it is cut."""

from streaming.query import Admission

# A micro-batch of fewer pictures is mostly its commit: its rate says nothing.
TELLING_ROWS = 64
# The quantum of freshness: how much work one micro-batch should be.
_BATCH_SECONDS = 10
_FEWEST_ROWS, _MOST_ROWS = 64, 100_000
# Admission takes whole files until the bound is passed: a little less than one full file admits exactly that one.
_FULL_FILE_SHARE = 0.8
# On a cluster, which has no slots to spare: long tasks would hold the cores for a whole micro-batch.
_TASKS_PER_CORE_BESIDE_OTHERS = 4


def rows(rate: float, asked: int = 0) -> int:
    """Return the pictures of a full micro-batch.

    Parameters
    ----------
    rate
        Pictures per second, measured or predicted.
    asked
        What the user wants; 0: about ten seconds of work.
    """
    return asked or min(max(int(rate * _BATCH_SECONDS), _FEWEST_ROWS), _MOST_ROWS)


def admission(full_file: int, bytes_per_row: float) -> Admission:
    """Return the bound that admits one arrivals file of `full_file` rows, or many small ones."""
    return Admission(max_bytes=max(1, int(full_file * bytes_per_row * _FULL_FILE_SHARE)))


def slots(cores: int, featurizers: int) -> int:
    """Return the tasks that this machine is to run at once: as many for each featurizer as it has cores.

    A micro-batch of a few fresh pictures has several stages. Where it had to wait for a slot before each of them,
    another featurizer's backlog would hold it up by as many tasks; the system shares cores out by the millisecond.
    """
    return cores * featurizers


def tasks(cores: int, featurizers: int, found: int) -> int:
    """Return the tasks of a micro-batch: one for each core, or shorter ones where featurizers must share `found` slots.

    Parameters
    ----------
    cores
        Of all workers.
    featurizers
        That are streamed at once.
    found
        The tasks that Spark runs at once.
    """
    return cores if found >= slots(cores, featurizers) else cores * _TASKS_PER_CORE_BESIDE_OTHERS
