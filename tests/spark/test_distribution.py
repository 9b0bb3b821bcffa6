"""Spark's workers do what threads of this process do: each task reads its files itself."""

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from batch.algebra.vectors import lists
from batch.refit import refit
from batch.rows.parts import Part, PartGone
from batch.tasks import distribution, products
from batch.tasks.distribution import Distribution, Here, OnSpark
from batch.tasks.products import SUMS, Factor
from conf.errors import StorageError
from conf.schemas import COMPONENTS
from conf.settings import Settings
from tests.unit.fields import Field
from tests.unit.lakes import ONE

FACTOR = Factor(np.full(3, 0.5), np.arange(6.0).reshape(3, 2))
WORK = functools.partial(products.multiply, factor=FACTOR)


@pytest.fixture
def shares(tmp_path: Path) -> list[list[Part]]:
    """Return five shares of one file each, of numbers that any order of summing gives exactly."""
    rows = np.random.default_rng(0).integers(-9, 9, (5, 20, 3)).astype(np.float32)
    return [
        [written(tmp_path / f"{number}.parquet", pa.table({"features": lists(each)}))]
        for number, each in enumerate(rows)
    ]


def written(path: Path, table: pa.Table) -> Part:
    """Write a file of features."""
    pq.write_table(table, path)
    return Part(str(path), path.stat().st_size, table.num_rows)


def test_the_rows_of_all_tasks(spark: SparkSession, shares: list[list[Part]]) -> None:
    """The same as in this process; from no task none."""
    here, there = (each.rows(WORK, shares, SUMS) for each in (Here(), OnSpark(spark)))
    assert there.schema == SUMS
    assert sorted(there["sums"].to_pylist()) == sorted(here["sums"].to_pylist())
    assert OnSpark(spark).rows(WORK, [], SUMS).num_rows == 0


@pytest.mark.parametrize("count", [1, 5])
def test_the_one_row_that_all_make_in_levels(
    count: int, spark: SparkSession, shares: list[list[Part]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at a time, five make three, which make two, which make one."""
    monkeypatch.setattr(distribution, "_FAN_IN", 2)
    here, there = (each.combined(WORK, products.summed, shares[:count], SUMS) for each in (Here(), OnSpark(spark)))
    assert there.num_rows == 1
    assert there["sums"].to_pylist() == here["sums"].to_pylist()


@pytest.mark.parametrize("how", ["rows", "combined"])
def test_a_file_that_is_gone_is_said_as_what_it_is(how: str, spark: SparkSession, shares: list[list[Part]]) -> None:
    """The caller begins again; Spark itself only tells of it in a text."""
    Path(shares[1][0].path).unlink()
    with pytest.raises(PartGone) as raised:
        run(OnSpark(spark), how, shares[:2])
    assert str(raised.value).startswith(f"{shares[1][0].path} is gone: upkeep deleted it")
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_one_line(spark: SparkSession, shares: list[list[Part]]) -> None:
    """And no gone file: beginning again would not help."""
    Path(shares[0][0].path).write_bytes(b"no parquet at all")
    with pytest.raises(StorageError, match=r"^.*0\.parquet cannot be read: .*$") as raised:
        run(OnSpark(spark), "rows", shares[:1])
    assert not isinstance(raised.value, PartGone)


def run(where: Distribution, how: str, shares: list[list[Part]]) -> pa.Table:
    """Have something done."""
    return where.rows(WORK, shares, SUMS) if how == "rows" else where.combined(WORK, products.summed, shares, SUMS)


def test_a_refit_on_spark_publishes_what_one_in_this_process_does(spark: SparkSession, tmp_path: Path) -> None:
    """To the last digits but the order of sums; from several files, one of them written by what is new."""
    published = []
    for name, where in (("here", Here()), ("there", OnSpark(spark))):
        field = Field(tmp_path / name)
        field.grow(*(f"a{number}" for number in range(20)))
        field.grow("a1", "b1", at=30)
        done = refit(field.paths, ONE, Settings(components=3), lambda where=where: where)  # type: ignore[misc]
        assert done.model is not None
        published.append((done.model, {row["uri"]: row["components"] for row in field.rows(COMPONENTS)}))
    (here, placed_here), (there, placed_there) = published
    np.testing.assert_allclose(there.explained_variance, here.explained_variance, rtol=1e-12)
    assert placed_here.keys() == placed_there.keys()
    for uri, place in placed_here.items():
        np.testing.assert_allclose(placed_there[uri], place, rtol=1e-5, atol=1e-6)
