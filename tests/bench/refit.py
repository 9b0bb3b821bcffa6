"""The refit: its fit against Spark ML's, a refit of what changed against one of everything, projection against reading.

Everything runs side by side, in turns, on drawn features of 1,280 columns (see `tests.bench.planted`) and on one Spark
session, made as `verger refit` makes it, but for a JVM that compiles as hard as it can, for Spark ML's sake. Run with
`python -m tests.bench.refit [--quick] [--rounds N]`.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml.feature import PCA, StandardScaler
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession

from batch import fit, models, replacement
from batch.algebra.solvers import Solution, Wanted
from batch.fit import Sums
from batch.model import Model
from batch.plan import Plan, plan
from batch.refit import refit
from batch.rows.parts import Part, dealt, read
from batch.tasks.distribution import OnSpark
from batch.tasks.projecting import readings
from conf.lake import LakePaths, create_lake
from conf.saying import silent
from conf.schemas import COMPONENTS, FEATURES, MODELS
from conf.session import session
from conf.settings import Settings
from conf.tables import ensure
from tests.bench.planted import FEATURIZER, Network, plant

NETWORK = Network(1280)
KEPT = 50
SOLVER = "covariance"
FEW, MANY, QUICK_FEW, QUICK_MANY = 8_000, 50_000, 2_000, 5_000
NEW = 0.01
FILES = 8
CORES = min(2, os.cpu_count() or 1)
# As `batch.refit.run` has it.
SPARK = {"spark.sql.execution.arrow.maxRecordsPerBatch": "1"}
# Verger's session has the JVM compile cheaply, as its own heavy work is in the workers. Spark ML's is in the JVM.
_JVM_FLAGS = "-XX:+UseSerialGC -Djava.io.tmpdir={folder}"
AIM_FIT, AIM_INCREMENTAL = 5, 10
# What projecting reads.
_READ = ("uri", "e_tag", "landed_at", "label", "features")
_COUNTED = pa.schema([("rows", pa.int64())])
_Result = TypeVar("_Result")


@dataclass
class Stopwatch:
    """How long things took, in seconds, by what they were."""

    taken: dict[str, list[float]] = field(default_factory=dict)

    def time(self, what: str, work: Callable[[], _Result]) -> _Result:
        """Do some work and keep how long it took."""
        began = time.perf_counter()
        done = work()
        self.taken.setdefault(what, []).append(time.perf_counter() - began)
        return done

    def median(self, what: str) -> float:
        """Return the median of what was kept."""
        return statistics.median(self.taken[what])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few pictures, to see that it runs")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    few, many, rounds = (QUICK_FEW, QUICK_MANY, 1) if asked.quick else (FEW, MANY, asked.rounds)
    with (
        tempfile.TemporaryDirectory(prefix="verger-refit-", ignore_cleanup_errors=True) as folder,
        session("verger bench", cores=CORES, extra=spark_settings(folder)) as spark,
    ):
        _against_spark_ml(_planted(Path(folder) / "few", few), spark, rounds)
        lake = _planted(Path(folder) / "many", many)
        _against_full(lake, OnSpark(spark), rounds)
        _against_reading(lake, OnSpark(spark), rounds)


def spark_settings(folder: str) -> dict[str, str]:
    """Return what the session gets beside Verger's own; the JVM's temporary files go to `folder`."""
    return SPARK | {"spark.driver.extraJavaOptions": _JVM_FLAGS.format(folder=folder)}


def _planted(root: Path, pictures: int) -> LakePaths:
    lake = create_lake(str(root))
    for table in (MODELS, COMPONENTS):
        ensure(table, lake.table(table))
    plant(lake, NETWORK, pictures, rows_per_file=-(-pictures // FILES))
    return lake


def _against_spark_ml(lake: LakePaths, spark: SparkSession, rounds: int) -> None:
    """Fit with Verger's tasks and with Spark ML, which reads the same table its own way."""
    planned = plan(lake, FEATURIZER, None, SOLVER, full=False)
    ways: dict[str, Callable[[], NDArray[np.float64]]] = {
        "verger": lambda: _fitted(planned, OnSpark(spark)).explained_variance_ratio,
        "Spark ML": lambda: fit_by_spark_ml(lake, spark, KEPT, cached=False),
        "Spark ML, rows cached": lambda: fit_by_spark_ml(lake, spark, KEPT, cached=True),
    }
    first = {way: ways[way]() for way in ways}
    watch = Stopwatch()
    for _ in range(rounds):
        for way, work in ways.items():
            watch.time(way, work)
    print(f"\nfit of {planned.winners.n:,} pictures by {NETWORK.width:,} columns, {KEPT} components, {CORES} cores\n")
    for way in ways:
        said = f"{watch.median(way) / watch.median('verger'):7.1f} times as long" if way != "verger" else ""
        print(f"{way:24}{watch.median(way):8.2f} s{said}")
    apart = max(float(np.abs(found / first["verger"] - 1).max()) for found in first.values())
    ratio = min(watch.median(way) for way in ways if way != "verger") / watch.median("verger")
    print(f"\nratio {ratio:.1f} (aim: at least {AIM_FIT}); explained variances agree to {apart:.0e}", flush=True)


def _fitted(planned: Plan, distribution: OnSpark) -> Solution:
    return _solved(planned, _summed(planned, distribution), distribution)


def _summed(planned: Plan, distribution: OnSpark) -> Sums:
    return fit.sums(planned, NETWORK.width, SOLVER, distribution)


def _solved(planned: Plan, sums: Sums, distribution: OnSpark) -> Solution:
    return fit.solve(planned, sums, SOLVER, Wanted(KEPT), distribution, silent)


def fit_by_spark_ml(lake: LakePaths, spark: SparkSession, k: int, cached: bool) -> NDArray[np.float64]:
    """Fit StandardScaler and PCA of Spark ML on a lake's features; return the share of the variance of each component.

    Parameters
    ----------
    k
        Components.
    cached
        Whether the rows are read once and kept in memory; else Spark ML reads them several times.
    """
    table = spark.read.format("delta").load(lake.table(FEATURES))
    rows = table.where(table["features"].isNotNull()).select(array_to_vector(table["features"]).alias("features"))
    if cached:
        rows = rows.cache()
    scaler = StandardScaler(withMean=True, withStd=True, inputCol="features", outputCol="standardised")
    standardised = scaler.fit(rows).transform(rows)
    fitted = PCA(k=k, inputCol="standardised", outputCol="components").fit(standardised)
    rows.unpersist()
    return np.asarray(fitted.explainedVariance.toArray(), np.float64)


def _against_full(lake: LakePaths, distribution: OnSpark, rounds: int) -> None:
    """Refit with 1 % new pictures each time, from what changed and from everything.

    The fit writes nothing: it is timed by itself, with the same new pictures, before a refit takes them in.
    """
    settings = {"incremental": Settings(components=KEPT), "full": Settings(components=KEPT, full=True)}
    first = refit(lake, FEATURIZER, settings["full"], lambda: distribution).model
    assert first is not None
    new, watch = round(NEW * first.n), Stopwatch()
    for number in range(rounds):
        plant(lake, NETWORK, new, rows_per_file=new, first=first.n + number * new)
        for kind in settings:
            watch.time(f"{kind} fit", functools.partial(_fit, lake, kind, distribution, watch))
        for kind, asked in settings.items():
            done = watch.time(f"{kind} refit", functools.partial(refit, lake, FEATURIZER, asked, lambda: distribution))
            assert done.model is not None
            assert done.model.run_card["kind"] == kind
    print(f"\nrefit of {first.n:,} pictures by {NETWORK.width:,} columns after {new:,} new ones\n")
    for part, steps in {"fit": ("last model", "plan", "sums", "solve", "fit"), "whole refit": ("refit",)}.items():
        print(f"{part:24}{'incremental':>14}{'full':>14}{'ratio':>9}")
        for step in steps:
            incremental, full = (watch.median(f"{kind} {step}") for kind in settings)
            print(f"  {step:22}{incremental:12.2f} s{full:12.2f} s{full / incremental:9.1f}")
    ratio = watch.median("full fit") / watch.median("incremental fit")
    print(
        f"\nratio of the fits {ratio:.1f} (aim: at least {AIM_INCREMENTAL}); they begin with the lake as it lies, and"
    )
    print("end with the axes; a refit goes on with projecting every picture, and publishes", flush=True)


def _fit(lake: LakePaths, kind: str, distribution: OnSpark, watch: Stopwatch) -> None:
    """Fit as a refit does, from reading the last model to the axes."""
    last = watch.time(f"{kind} last model", lambda: models.newest(lake, FEATURIZER))
    planned = watch.time(f"{kind} plan", lambda: plan(lake, FEATURIZER, last, SOLVER, full=kind == "full"))
    assert bool(planned.why_full) == (kind == "full")
    sums = watch.time(f"{kind} sums", lambda: _summed(planned, distribution))
    watch.time(f"{kind} solve", lambda: _solved(planned, sums, distribution))


def _against_reading(lake: LakePaths, distribution: OnSpark, rounds: int) -> None:
    """Project every picture as a refit does, and read the same columns by the same tasks for nothing."""
    last = models.newest(lake, FEATURIZER)
    assert last is not None
    planned = plan(lake, FEATURIZER, last, SOLVER, full=False)
    shares = dealt(planned.winners.parts, distribution.tasks)
    watch = Stopwatch()
    for number in range(rounds + 1):
        # The first round warms up.
        watch = Stopwatch() if number == 1 else watch
        watch.time("a job of nothing", lambda: distribution.rows(_nothing, shares, _COUNTED))
        watch.time("reading", lambda: distribution.rows(_read_only, shares, _COUNTED))
        watch.time("projecting", lambda: _project(lake, last, planned, distribution))
    pictures = planned.winners.n
    print(f"\nprojection of {pictures:,} pictures on {last.k} axes, {distribution.tasks} tasks\n")
    for what in ("reading", "projecting"):
        print(f"{what:24}{watch.median(what):8.2f} s{pictures / watch.median(what):12,.0f} rows/s")
    print(f"{'a job of nothing':24}{watch.median('a job of nothing'):8.2f} s")
    print(f"\nratio {watch.median('reading') / watch.median('projecting'):.2f} of the reading limit", flush=True)


def _project(lake: LakePaths, model: Model, planned: Plan, distribution: OnSpark) -> None:
    """Write components into files that nobody will name, and delete them."""
    read_parts = readings(planned.winners.parts, ())
    labels: frozenset[str | None] = frozenset(planned.winners.labels)
    made = replacement.project(
        lake, FEATURIZER, model.id, model.projection, planned.version, read_parts, labels, distribution
    )
    assert made.rows == planned.winners.n
    replacement.discard(lake, FEATURIZER, made.files)


def _read_only(share: Sequence[Part]) -> Iterator[pa.RecordBatch]:
    rows = sum(batch.num_rows for part in share for batch in read(part, _READ))
    yield pa.record_batch([pa.array([rows], pa.int64())], schema=_COUNTED)


def _nothing(share: Sequence[Part]) -> Iterator[pa.RecordBatch]:
    yield pa.record_batch([pa.array([len(share)], pa.int64())], schema=_COUNTED)


if __name__ == "__main__":
    main()
