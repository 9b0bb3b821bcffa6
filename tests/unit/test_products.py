"""Products with the correlation matrix, made of rows: held against the matrix itself."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from batch.algebra.krylov import randomized
from batch.algebra.solvers import Wanted, covariance, scale_of, varying_columns
from batch.algebra.vectors import lists
from batch.rows.parts import Part
from batch.tasks.products import SUMS, Factor, multiply, read_sums, summed

WIDTH = 12
Doubles = NDArray[np.float64]


@pytest.fixture
def matrix() -> NDArray[np.float32]:
    """Draw 90 correlated rows, one column constant and one far from zero."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(90, WIDTH)) @ rng.normal(size=(WIDTH, WIDTH))
    values[:, 3], values[:, 4] = 2.5, values[:, 4] + 1e4
    return values.astype(np.float32)


@pytest.fixture
def parts(matrix: NDArray[np.float32], tmp_path: Path) -> list[Part]:
    """Write the rows into three files, with rows that are not usable in between."""
    return [written(tmp_path / f"{number}.parquet", rows) for number, rows in enumerate(np.split(matrix, [20, 21]))]


def written(path: Path, rows: NDArray[np.float32]) -> Part:
    """Write a file of features, with a rejection, a vector of another length and one that is not finite."""
    odd = pa.array([None, [1.0], [float("nan")] * WIDTH], pa.list_(pa.float32()))
    pq.write_table(pa.table({"features": pa.concat_arrays([odd, lists(rows), odd])}), path)
    return Part(str(path), path.stat().st_size, len(rows) + 6)


def product(parts: list[list[Part]], factor: Factor) -> Doubles:
    """Multiply by shares, and sum up."""
    said = [batch for share in parts for batch in multiply(share, factor)]
    return read_sums(pa.Table.from_batches(summed(iter(said)), SUMS), len(factor.mean))


@pytest.mark.parametrize("columns", [1, 5])
@pytest.mark.parametrize("shares", [1, 2, 3])
def test_it_is_the_scatter_times_the_block(
    shares: int, columns: int, matrix: NDArray[np.float32], parts: list[Part]
) -> None:
    """However the files are dealt; rows that are not usable take no part."""
    block = np.random.default_rng(1).normal(size=(WIDTH, columns))
    centred = matrix.astype(np.float64) - matrix.mean(axis=0, dtype=np.float64)
    factor = Factor(matrix.mean(axis=0, dtype=np.float64), block)
    found = product([parts[number::shares] for number in range(shares)], factor)
    expected = centred.T @ centred @ block
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


def test_divided_by_scales_it_is_the_correlation_matrix_times_the_block(
    matrix: NDArray[np.float32], parts: list[Part]
) -> None:
    """A constant column, which has no correlation, gives and takes nothing."""
    values = matrix.astype(np.float64)
    mean, variance = values.mean(axis=0), values.var(axis=0)
    varying, scale = varying_columns(mean, variance)[:, None], scale_of(mean, variance)[:, None]
    block = np.random.default_rng(1).normal(size=(WIDTH, 4))
    found = varying * product([parts], Factor(mean, varying * block / scale)) / scale / len(matrix)
    correlation = np.zeros((WIDTH, WIDTH))
    kept = np.flatnonzero(varying)
    correlation[np.ix_(kept, kept)] = np.corrcoef(values[:, kept], rowvar=False)
    assert varying.sum() == WIDTH - 1
    np.testing.assert_allclose(found, correlation @ block, rtol=1e-9, atol=1e-9)


def test_a_mean_far_from_zero_costs_no_digits(tmp_path: Path) -> None:
    """Though no row is centred: what is taken off is known to the same digits."""
    rng = np.random.default_rng(2)
    rows = (rng.normal(size=(400, WIDTH)) + 1e5).astype(np.float32)
    values = rows.astype(np.float64)
    centred = values - values.mean(axis=0)
    block = rng.normal(size=(WIDTH, 3))
    found = product([[written(tmp_path / "x.parquet", rows)]], Factor(values.mean(axis=0), block))
    expected = centred.T @ centred @ block
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())


def test_nothing_sums_up_to_zeros_or_to_nothing() -> None:
    """A task without rows says zeros; no task at all says nothing."""
    factor = Factor(np.zeros(3), np.ones((3, 2)))
    [said] = multiply([], factor)
    assert said.schema == SUMS
    assert not read_sums(pa.Table.from_batches([said]), 3).any()
    assert list(summed(iter([]))) == []


def test_several_rows_of_one_batch_are_summed_up() -> None:
    """Whoever brings them may bring them together; what came stays as it was."""
    rows = np.arange(12.0).reshape(2, 3, 2)
    batch = pa.record_batch([pa.array([row.tobytes() for row in rows])], schema=SUMS)

    def brought() -> Iterator[pa.RecordBatch]:
        yield batch
        yield batch

    [total] = summed(brought())
    np.testing.assert_array_equal(read_sums(pa.Table.from_batches([total]), 3), 2 * rows.sum(axis=0))
    np.testing.assert_array_equal(np.frombuffer(batch["sums"][0].as_py()).reshape(3, 2), rows[0])


def test_the_solver_that_reads_by_products_finds_the_same_axes(matrix: NDArray[np.float32], parts: list[Part]) -> None:
    """As the one that has the whole matrix."""
    values = matrix.astype(np.float64)
    mean, variance = values.mean(axis=0), values.var(axis=0)
    varying, scale = varying_columns(mean, variance)[:, None], scale_of(mean, variance)[:, None]

    def times(block: Doubles) -> Doubles:
        found = product([parts[:1], parts[1:]], Factor(mean, varying * block / scale))
        return np.asarray(varying * found / scale / len(values))

    wanted = Wanted(3, 0.9)
    fast = randomized(len(values), mean, variance, times, wanted, WIDTH)
    centred = values - mean
    exact = covariance(len(values), mean, centred.T @ centred, wanted)
    np.testing.assert_allclose(fast.explained_variance, exact.explained_variance, rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(fast.basis * exact.basis, axis=1)), 1, atol=1e-6)
