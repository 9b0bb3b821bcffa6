"""Refits of wide features: their memory, their time, and how near the truth their components are.

Each is a process of `verger refit` on a lake of drawn features (see `tests.bench.planted`): 25,088 columns, as VGG16
has them flattened, and 100,352, as ResNet50 has. The truth is the dual solution: as the pictures are fewer than the
columns, the matrix of their inner products has the same eigenvalues as the correlations. What Spark ML makes of the
same table with the same memory is shown beside. Run with `python -m tests.bench.wide [--quick] [--limit SECONDS]`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow.compute as pc
from deltalake import DeltaTable
from numpy.typing import NDArray

from batch import models
from batch.algebra.solvers import scale_of, varying_columns
from conf.errors import VergerError
from conf.lake import LakePaths, create_lake, open_lake
from conf.schemas import FEATURES
from conf.session import session
from tests.bench.planted import FEATURIZER, Network, plant
from tests.bench.refit import fit_by_spark_ml, spark_settings
from tests.bench.soak import usage

KEPT = 10
CORES = min(2, os.cpu_count() or 1)
AIM_GIB, AIM_APART = 6.0, 0.01
FILES = 5
_BETWEEN_SAMPLES = 0.2
_HOME = Path(__file__).parents[2]
# What the JVM's log holds where a task, and with it the whole of a local Spark, ended for want of memory.
_DEADLY = "OutOfMemoryError"


@dataclass(frozen=True)
class Size:
    """How many pictures, and how long their features."""

    pictures: int
    width: int


SIZES, QUICK_SIZES = (Size(500, 25_088), Size(300, 100_352)), (Size(60, 5_000),)


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes
    ----------
    said : str
        Its result, the first line; or the last line of its errors.
    memory : dict of str to float
        In MB, at the moment when the process and all below it took most, by who took it.
    """

    code: int
    said: str
    seconds: float
    memory: dict[str, float]

    @property
    def gib(self) -> float:
        """The most memory of all processes together."""
        return sum(self.memory.values()) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small table, to see that it runs")
    parser.add_argument("--limit", type=float, default=300, help="seconds after which Spark ML is ended")
    parser.add_argument("--spark-ml", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.spark_ml:
        _by_spark_ml(open_lake(asked.spark_ml))
        return
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("this bench reads what processes use from /proc: run it on Linux")
    for size in QUICK_SIZES if asked.quick else SIZES:
        with tempfile.TemporaryDirectory(prefix="verger-wide-", ignore_cleanup_errors=True) as folder:
            lake = create_lake(str(Path(folder) / "lake"))
            plant(lake, Network(size.width), size.pictures, rows_per_file=-(-size.pictures // FILES))
            _measure(lake, size, asked.limit, Path(folder))


def _measure(lake: LakePaths, size: Size, limit: float, folder: Path) -> None:
    exact = _exact(lake)
    print(f"\n{size.pictures:,} pictures of {size.width:,} columns, {KEPT} components, {CORES} cores\n")
    entry = [sys.executable, "-m", "bootstrap.entry", "refit", "--lake", str(lake.root)]
    _print("verger refit", _run([*entry, "--components", str(KEPT), "--cores", str(CORES)], 3600, folder))
    made = models.newest(lake, FEATURIZER)
    assert made is not None
    print(f"  {'solver':18}{'; '.join(made.run_card['notes'])}")
    print(f"  {'seconds':18}{', '.join(f'{step} {took:.1f}' for step, took in made.run_card['seconds'].items())}")
    _print_nearness(made.explained_variance_ratio, exact)
    ended = _run([sys.executable, "-m", "tests.bench.wide", "--spark-ml", str(lake.root)], limit, folder)
    _print("Spark ML, noted", ended)
    if ended.code == 0:
        found = np.array(json.loads(ended.said))
        _print_nearness(found, exact)
        # Above 65,535 columns its shares are of the variance of the components alone.
        apart = np.abs(found / found.sum() / (exact / exact.sum()) - 1).max()
        print(f"  {'':18}to one another the components are as {apart:.1e} at most from exact", flush=True)


def _exact(lake: LakePaths) -> NDArray[np.float64]:
    """Return the shares of the variance by the dual solution, all in memory and at once."""
    column = DeltaTable(lake.table(FEATURES)).to_pyarrow_table(columns=["features"])["features"]
    rows = pc.list_flatten(column).to_numpy().astype(np.float64).reshape(len(column), -1)
    mean, variance = rows.mean(axis=0), rows.var(axis=0)
    rows -= mean
    rows /= scale_of(mean, variance)
    varying = varying_columns(mean, variance)
    rows[:, ~varying] = 0
    values = np.linalg.eigvalsh(rows @ rows.T)[::-1]
    shares: NDArray[np.float64] = values[:KEPT] / len(rows) / varying.sum()
    return shares


def _by_spark_ml(lake: LakePaths) -> None:
    """Print the shares of the variance that Spark ML finds, as JSON, or end with what it failed of."""
    log = ""
    with tempfile.TemporaryDirectory(prefix="verger-wide-", ignore_cleanup_errors=True) as folder:
        try:
            with session("verger bench", cores=CORES, extra=spark_settings(folder)) as spark:
                path = Path(spark.sparkContext.getConf().get("spark.local.dir", folder)) / "spark.log"
                try:
                    print(json.dumps(fit_by_spark_ml(lake, spark, KEPT, cached=False).tolist()))
                finally:
                    log = path.read_text()
        except VergerError as error:
            deadly = next((line.strip() for line in log.splitlines() if _DEADLY in line), "")
            sys.exit(f"{error} ({deadly})" if deadly and _DEADLY not in str(error) else str(error))


def _run(command: list[str], limit: float, folder: Path) -> Ended:
    """Run a command, with temporary files in a folder, and watch its memory; when it takes too long, end it all."""
    environment = os.environ | {"TMPDIR": str(folder)}
    began, memory = time.monotonic(), {"driver memory": 0.0}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=_HOME, env=environment, stdout=output, stderr=errors, start_new_session=True
        )
        while process.poll() is None:
            memory = max(memory, _memory(process.pid), key=lambda each: sum(each.values()))
            if time.monotonic() > began + limit:
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_BETWEEN_SAMPLES)
        seconds = time.monotonic() - began
        said = _lines(errors)[-1] if process.returncode else _lines(output)[0]
    return Ended(process.returncode, said, seconds, memory)


def _lines(file: IO[str]) -> list[str]:
    file.seek(0)
    return [line.strip() for line in file if line.strip()] or ["nothing"]


def _memory(process: int) -> dict[str, float]:
    with suppress(OSError):
        return {name: size for name, size in usage(process).items() if name.endswith("memory")}
    # It has ended in between.
    return {}


def _print(what: str, ended: Ended) -> None:
    how = "" if not ended.code else f", ended by signal {-ended.code}" if ended.code < 0 else f", exit {ended.code}"
    parts = ", ".join(f"{name.removesuffix(' memory')} {size / 1024:.2f}" for name, size in ended.memory.items())
    print(f"{what}: {ended.seconds:.0f} s{how}")
    print(f"  {'memory':18}{ended.gib:.2f} GiB at most ({parts})")
    if not ended.said.startswith("["):
        print(f"  {'said':18}{ended.said[:300]}", flush=True)


def _print_nearness(found: NDArray[np.float64], exact: NDArray[np.float64]) -> None:
    together, apart = found.sum() / exact.sum() - 1, np.abs(found / exact - 1).max()
    print(
        f"  {'variance':18}{100 * found.sum():.3f} %, exactly {100 * exact.sum():.3f} %: apart by {together:.1e}, ",
        end="",
    )
    print(f"a component by {apart:.1e} at most")


if __name__ == "__main__":
    main()
