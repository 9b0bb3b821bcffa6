"""Sizes of EMR Serverless' workers: how many cores with how much memory there are, and whether Spark's demands fit.

Source: the EMR Serverless User Guide, "Worker configurations" (docs.aws.amazon.com, app-behavior).
"""

import re
from collections.abc import Mapping

from conf.errors import UsageError

# GB that a worker of so many cores may have.
SIZES: dict[int, tuple[int, ...]] = {
    1: tuple(range(2, 9)),
    2: tuple(range(4, 17)),
    4: tuple(range(8, 31)),
    8: tuple(range(16, 61, 4)),
    16: tuple(range(32, 121, 8)),
    32: (60, 120, 244),
}
_UNITS = {"m": 1, "g": 1024, "t": 1024 * 1024}
_SIZE = re.compile(r"([1-9][0-9]*)([mgt])b?", re.IGNORECASE)


def size(cores: int, mebibytes: int) -> int:
    """Return the GB of the smallest worker of so many cores that holds so much memory.

    Raises
    ------
    UsageError
        There is no worker of so many cores, or none that holds it.
    """
    if cores not in SIZES:
        raise UsageError(f"EMR Serverless has no worker of {cores} cores: say {', '.join(map(str, SIZES))}")
    found = next((each for each in SIZES[cores] if each * 1024 >= mebibytes), None)
    if found is None:
        raise UsageError(
            f"a worker of {cores} cores has {SIZES[cores][-1]} GB at most, and {mebibytes / 1024:g} GB are asked for: "
            "ask for less memory or more cores"
        )
    return found


def check(spark: Mapping[str, str], *, serverless: bool = True) -> dict[str, tuple[int, int]]:
    """Check that cores, sizes and numbers are such, and on EMR Serverless that memory fits into a worker of its cores.

    Parameters
    ----------
    spark
        Settings of Spark, with cores, memory and memoryOverhead of the driver and the executors, and how many of these.
    serverless
        Whether heap and overhead must fit into a worker; a cluster's nodes are for its template to say.

    Returns
    -------
    dict
        Cores and GB of the worker that each of them gets on EMR Serverless, by `driver` and `executor`.

    Raises
    ------
    UsageError
        It does not; the message names the settings.
    """
    number = spark["spark.executor.instances"]
    if not number.isdecimal() or int(number) < 1:
        raise UsageError(f"spark.executor.instances={number} is no whole number of at least 1")
    found = {}
    for part in ("driver", "executor"):
        names = [f"spark.{part}.{each}" for each in ("cores", "memory", "memoryOverhead")]
        cores, heap, overhead = (spark[name] for name in names)
        if not cores.isdecimal():
            raise UsageError(f"{names[0]}={cores} is no whole number")
        together = mebibytes(heap, names[1]) + mebibytes(overhead, names[2])
        if not serverless:
            continue
        try:
            found[part] = int(cores), size(int(cores), together)
        except UsageError as error:
            raise UsageError(f"{part}: {error} ({', '.join(f'{name}={spark[name]}' for name in names)})") from None
    return found


def mebibytes(text: str, name: str) -> int:
    """Read a size as Spark spells it, in MiB.

    Raises
    ------
    UsageError
        It is none with a unit, as 4g or 4096m.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise UsageError(f"{name}={text} is no size with a unit: say 4g, or 4096m")
    return int(found[1]) * _UNITS[found[2].lower()]
