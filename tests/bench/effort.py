"""What a refit takes of the cores: CPU seconds of the driver, its JVM and its workers, whatever else a machine does.

Measured on folders of two sizes, by the same session, so that what a refit takes however few the rows is told from what
each million adds. Needs Linux, for its /proc.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pyspark.sql import SparkSession

from batch.refit import refit
from batch.tasks.distribution import OnSpark
from conf.lake import LakePaths, create_lake
from conf.schemas import COMPONENTS, MODELS
from conf.session import session
from conf.settings import Settings
from conf.tables import ensure
from tests.bench.planted import FEATURIZER, Network, plant
from tests.bench.refit import CORES, spark_settings

NEW = 0.01
_FILES, _ROUNDS = 8, 3


def refits(folder: Path, network: Network, k: int, sizes: tuple[int, int]) -> dict[str, float]:
    """Measure whole refits, and those of a hundredth of new rows.

    Parameters
    ----------
    folder
        An empty one.
    network
        What draws the features.
    k
        Components.
    sizes
        Rows of the smaller lake and of the larger one.

    Returns
    -------
    dict of str to float
        CPU seconds: of each kind, fixed and per million rows. An incremental refit reads its new rows at the price of a
        whole one; what is left is for each row that there is.
    """
    with session("verger bench", cores=CORES, extra=spark_settings(str(folder))) as spark:
        # The first one warms up.
        _, (small, few), (large, many) = (
            _both(planted(str(folder / f"lake-{number}"), network, rows, rows // _FILES), network, rows, k, spark)
            for number, rows in enumerate((sizes[0], *sizes))
        )
    millions, apart = sizes[0] / 1e6, (sizes[1] - sizes[0]) / 1e6
    per_full = (large - small) / apart
    per_row = (many - few) / apart - NEW * per_full
    return {
        "full_cpu_seconds": small - per_full * millions,
        "full_cpu_seconds_per_million": per_full,
        "refit_cpu_seconds": few - (per_row + NEW * per_full) * millions,
        "refit_cpu_seconds_per_million": per_row,
    }


def planted(root: str, network: Network, rows: int, rows_per_file: int) -> LakePaths:
    """Return a lake of drawn features, which can be refitted."""
    lake = create_lake(root)
    for table in (MODELS, COMPONENTS):
        ensure(table, lake.table(table))
    plant(lake, network, rows, rows_per_file)
    return lake


def _both(lake: LakePaths, network: Network, rows: int, k: int, spark: SparkSession) -> tuple[float, float]:
    """Return what a whole refit takes, and one of a hundredth of new rows: the least of some, as others disturb."""

    def refitted(full: bool) -> float:
        settings = Settings(components=k, full=full)
        return _cpu(lambda: refit(lake, FEATURIZER, settings, lambda: OnSpark(spark)))

    whole = [refitted(full=True) for _ in range(_ROUNDS)]
    changed, new = [], round(NEW * rows)
    for number in range(_ROUNDS):
        plant(lake, network, new, new, first=rows + number * new)
        changed.append(refitted(full=False))
    return min(whole), min(changed)


def _cpu(work: Callable[[], object]) -> float:
    before = sum(_used(each) for each in _tree(os.getpid()))
    work()
    return sum(_used(each) for each in _tree(os.getpid())) - before


def _tree(process: int) -> Iterator[int]:
    """Yield a process and all that it has started."""
    yield process
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for below in task.read_text().split():
            yield from _tree(int(below))


def _used(process: int) -> float:
    """Return the CPU seconds of a process and of its children that have ended."""
    # After the name, which may hold anything but ends with the last bracket: utime, stime, cutime and cstime.
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
