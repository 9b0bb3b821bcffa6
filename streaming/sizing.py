"""How much one micro-batch takes, and into how many tasks it is cut."""

import math

from streaming.query import Admission

# A micro-batch of fewer pictures is mostly its commit: its rate says nothing.
TELLING_ROWS = 64
# The quantum of freshness: how much work one micro-batch should be.
_BATCH_SECONDS = 10
_FEWEST_ROWS, _MOST_ROWS = 64, 100_000
# Admission takes whole files until the bound is passed: a little less than one full file admits exactly that one.
_FULL_FILE_SHARE = 0.8
# Beside other queries long tasks would hold the cores: a micro-batch waits for a free one several times.
_TASK_SECONDS = 0.75
_MOST_TASKS = 512


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


def tasks(cores: int, featurizers: int, most_rows: int, rate: float) -> int:
    """Return the tasks of a micro-batch: one for each core, or many short ones where featurizers share the cores.

    Parameters
    ----------
    cores
        Of all workers.
    featurizers
        That are streamed at once.
    most_rows
        Pictures of the largest micro-batch that there can be.
    rate
        Pictures per second on all cores, measured or predicted.
    """
    if featurizers == 1:
        return cores
    short = math.ceil(most_rows / rate * cores / _TASK_SECONDS)
    return max(cores, min(short, _MOST_TASKS))
