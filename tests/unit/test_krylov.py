"""The solver for wide rows against exact ones: the dense eigenproblem, or the dual one of fewer rows than columns."""

import functools
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from batch.algebra import krylov, solvers
from batch.algebra.solvers import Array, Solution, Wanted

Say = Callable[[str], object]


@dataclass
class Table:
    """Rows, their moments, and the products that workers would make, which are counted."""

    rows: Array
    widths: list[int] = field(default_factory=list)

    @property
    def mean(self) -> Array:
        """Of each column."""
        return np.asarray(self.rows.mean(axis=0))

    @property
    def variance(self) -> Array:
        """Of each column, with ddof 0."""
        return np.asarray(self.rows.var(axis=0))

    @property
    def standardised(self) -> Array:
        """The rows, centred and divided by their scale; zero where a column is constant."""
        varying = solvers.varying_columns(self.mean, self.variance)
        return np.asarray((self.rows - self.mean) / solvers.scale_of(self.mean, self.variance) * varying)

    def fit(self, wanted: Wanted, most_columns: int = 10_000, seed: int = 0, say: Say = len) -> Solution:
        """Fit by products."""
        rows = self.standardised

        def multiply(block: Array) -> Array:
            self.widths.append(block.shape[1])
            return np.asarray(rows.T @ (rows @ block) / len(rows))

        return krylov.randomized(len(rows), self.mean, self.variance, multiply, wanted, most_columns, seed, say)

    @functools.cached_property
    def exact(self) -> tuple[Array, Array]:
        """All eigenvalues that are not zero, descending, and their axes; by the Gram matrix of few rows."""
        rows = self.standardised
        n, width = rows.shape
        values, vectors = np.linalg.eigh((rows @ rows.T if n < width else rows.T @ rows) / n)
        kept = np.flatnonzero(values > 1e-10 * values[-1])[::-1]
        axes = rows.T @ vectors[:, kept] / np.sqrt(n * values[kept]) if n < width else vectors[:, kept]
        return values[kept], axes.T


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Keep BLAS, for which these tables are small, from waiting for cores that other tests hold."""
    with threadpool_limits(1):
        yield


def decaying(n: int, width: int, power: float = 1.0, seed: int = 0) -> Table:
    """Draw rows whose eigenvalues fall."""
    random = np.random.default_rng(seed)
    rank = min(n, width)
    hidden = random.standard_normal((n, rank)) / np.arange(1, rank + 1) ** power
    return Table(hidden @ random.standard_normal((rank, width)) + 3)


def flat(n: int, width: int) -> Table:
    """Draw rows without any structure."""
    return Table(np.random.default_rng(0).standard_normal((n, width)))


def assert_exact(found: Solution, table: Table) -> None:
    """Hold all components against the exact ones, up to sign."""
    values, axes = table.exact
    n, k = len(table.rows), len(found.basis)
    np.testing.assert_allclose(found.explained_variance, values[:k] * n / (n - 1), rtol=1e-6)
    np.testing.assert_allclose(found.explained_variance_ratio.sum(), values[:k].sum() / values.sum(), rtol=1e-6)
    assert np.abs(np.abs(np.sum(found.basis * axes[:k], axis=1)) - 1).max() < 1e-9
    np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(k), atol=1e-10)
    assert np.array_equal(found.basis, solvers.signed(found.basis))


@pytest.mark.parametrize(
    "table",
    [decaying(60, 2000), decaying(60, 2000, 0.3), flat(60, 2000), decaying(500, 200), decaying(500, 200, 0.3)],
    ids=["decaying wide", "slowly decaying wide", "flat wide", "decaying", "slowly decaying"],
)
@pytest.mark.parametrize("wanted", [Wanted(1), Wanted(10), Wanted(40), Wanted(variance=0.9), Wanted(variance=1.0)])
def test_it_equals_the_exact_solution(table: Table, wanted: Wanted) -> None:
    """Eigenvalues and axes are the exact ones, and as many as are wanted."""
    found = table.fit(wanted)
    assert_exact(found, table)
    values, _ = table.exact
    assert len(found.basis) == solvers.how_many(values, wanted, table.rows.shape[1])
    assert found.solver == "randomized"
    assert not any("memory" in note for note in found.notes)


def test_axes_are_orthonormal_to_the_last_digits() -> None:
    """Of eigenvalues that fall through ten orders of magnitude, too, where new directions are nearly old ones."""
    basis = decaying(500, 200, 5.0).fit(Wanted(60)).basis
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-13)


@pytest.mark.parametrize("wanted", [Wanted(12), Wanted(variance=0.8)])
def test_both_solvers_give_the_same(wanted: Wanted) -> None:
    """Signs, scale and everything else are those of the exact solver."""
    table = decaying(500, 200)
    table.rows[:, [3, 50]] = 4.25
    centred = table.rows - table.mean
    exact = solvers.covariance(500, table.mean, centred.T @ centred, wanted)
    found = table.fit(wanted)
    np.testing.assert_allclose(found.scale, exact.scale, rtol=1e-12)
    np.testing.assert_allclose(found.explained_variance, exact.explained_variance, rtol=1e-9)
    np.testing.assert_allclose(found.explained_variance_ratio, exact.explained_variance_ratio, rtol=1e-9)
    np.testing.assert_allclose(found.basis, exact.basis, atol=1e-6)
    assert np.all(found.basis[:, [3, 50]] == 0.0)
    assert found.notes[0] == exact.notes[0] == "2 of 200 columns are constant and take no part"


def test_the_same_seed_gives_the_same_solution() -> None:
    """Nothing is left to chance; another seed finds the same axes by another way."""
    table = decaying(60, 500)
    first, again, other = (table.fit(Wanted(5), seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.basis, again.basis)
    assert not np.array_equal(first.basis, other.basis)
    np.testing.assert_allclose(first.basis, other.basis, atol=1e-6)


class TestRank:
    """Rows that have fewer components than columns."""

    def test_two_rows_have_one_axis(self) -> None:
        """It explains everything."""
        found = flat(2, 1000).fit(Wanted(variance=0.9))
        assert found.basis.shape == (1, 1000)
        np.testing.assert_allclose(found.explained_variance_ratio, [1.0])

    def test_more_components_than_exist_are_not_made_up(self) -> None:
        """All that exist are returned, exactly, and the note tells."""
        table = decaying(20, 800)
        found = table.fit(Wanted(100))
        assert len(found.basis) == 19
        assert_exact(found, table)
        assert "100 components were asked for, there are 19" in found.notes

    @pytest.mark.parametrize("wanted", [Wanted(30), Wanted(variance=1.0)])
    def test_repeated_rows_and_columns_add_none(self, wanted: Wanted) -> None:
        """A rank below that of n rows is found as soon as products bring nothing but round-off."""
        table = decaying(8, 100)
        table.rows = np.tile(table.rows, (6, 5))
        found = table.fit(wanted)
        assert len(found.basis) == 7
        assert len(table.widths) == 2
        assert_exact(found, table)

    def test_an_eigenvalue_that_is_there_many_times_is_found_as_often(self) -> None:
        """More often than a block has columns: 200 uncorrelated columns have 200 equal eigenvalues."""
        random = np.random.default_rng(0)
        orthogonal = np.linalg.qr(np.column_stack([np.ones(400), random.standard_normal((400, 200))]))[0][:, 1:]
        found = Table(orthogonal).fit(Wanted(variance=0.9))
        assert len(found.basis) == 180
        np.testing.assert_allclose(found.explained_variance_ratio, 1 / 200, rtol=1e-9)
        np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(180), atol=1e-10)

    @pytest.mark.parametrize("rows", [np.ones((1, 50)), np.ones((30, 50))])
    def test_what_does_not_vary_costs_no_pass(self, rows: Array) -> None:
        """One row, or equal rows, have no component, and the table is not read for it."""
        table = Table(rows)
        assert table.fit(Wanted(3)).basis.shape == (0, 50)
        assert table.widths == []


class TestMemory:
    """The bound on the subspace."""

    @pytest.mark.parametrize("most", [50, 54, 100])
    def test_the_bound_is_kept(self, most: int) -> None:
        """The columns of all blocks together are no more than memory holds, and the note tells what was missed."""
        table = flat(900, 300)
        found = table.fit(Wanted(20), most_columns=most)
        assert most - table.widths[0] < sum(table.widths) <= most
        assert len(found.basis) == 20
        assert any(f"memory for {most} directions ended" in note for note in found.notes)

    @pytest.mark.parametrize("most", [50, 54, 100])
    def test_the_worst_residual_is_the_true_one(self, most: int) -> None:
        """It is said without another pass over the table."""
        table = flat(900, 300)
        found = table.fit(Wanted(20), most_columns=most)
        images = (table.standardised @ found.basis.T).T @ table.standardised / 900
        values = found.explained_variance * 899 / 900
        worst = np.linalg.norm(images - values[:, None] * found.basis, axis=1).max() / values[0]
        assert f"worst residual {worst:.1e} of" in found.notes[0]

    def test_a_target_beyond_memory_returns_what_is_known_well(self) -> None:
        """The leading axes are returned as far as they are eigenvectors, and the note tells how much they explain."""
        table = decaying(900, 300, 0.5)
        found = table.fit(Wanted(variance=0.95), most_columns=60)
        values, _ = table.exact
        k = len(found.basis)
        assert 0 < k < 60
        np.testing.assert_allclose(found.explained_variance[:-1], values[: k - 1] * 900 / 899, rtol=1e-2)
        share = found.explained_variance_ratio.sum()
        note = next(note for note in found.notes if "the target of 0.95" in note)
        assert note.startswith(f"the target of 0.95 is not reached with {k} components")
        assert float(note.split()[-1]) == pytest.approx(share, abs=1e-4)

    def test_one_column_is_enough_to_begin(self) -> None:
        """However little memory there is, the first axis comes out."""
        assert decaying(60, 300).fit(Wanted(5), most_columns=1).basis.shape == (1, 300)

    @pytest.mark.parametrize("width", [25_088, 100_352])
    def test_the_prediction_can_be_turned_round(self, width: int) -> None:
        """The columns that a number of bytes allows take no more than that, and one more would."""
        columns = krylov.columns_within(width, 1 << 30)
        assert krylov.memory_bytes(width, columns) <= 1 << 30 < krylov.memory_bytes(width, columns + 1)
        assert krylov.columns_within(width, 0) == 0

    def test_memory_is_what_is_said(self) -> None:
        """A fit that fills the subspace stays within `memory_bytes`, products apart."""
        width, most = 20_000, 240
        random = np.random.default_rng(0)
        weights = random.uniform(0.5, 1.5, (width, 1))
        image = np.empty((width, krylov.block_width(Wanted(50), most)), order="F")
        tracemalloc.start()
        krylov.randomized(
            10**6,
            np.zeros(width),
            np.ones(width),
            lambda block: np.multiply(block, weights, out=image[:, : block.shape[1]]),
            Wanted(50),
            most,
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # What BLAS keeps is not Python's to trace.
        assert peak + image.nbytes < krylov.memory_bytes(width, most) - krylov.memory_bytes(0, 0)


def test_each_pass_is_told() -> None:
    """Whoever waits hears a sentence per pass; the count and the worst residual are in the notes."""
    heard: list[str] = []
    table = decaying(300, 200)
    notes = table.fit(Wanted(5), say=heard.append).notes
    assert len(heard) == len(table.widths) > 1
    assert heard[0].startswith("pass 1: ")
    assert notes[-1].startswith(f"{len(heard)} passes over the table")


def test_few_passes_are_enough() -> None:
    """Where eigenvalues fall as pictures' do, ten exact components cost six readings of the table at most."""
    table = decaying(1000, 600)
    table.fit(Wanted(10))
    assert len(table.widths) <= 6
