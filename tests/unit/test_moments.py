from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from batch.algebra.moments import Accumulator, Moments, Vector, block_rows

Floats = NDArray[np.floating[Any]]
SEEDS = st.integers(0, 2**32 - 1)
PARTS = st.lists(st.integers(0, 30), min_size=3, max_size=3)
EITHER = pytest.mark.parametrize("full", [True, False], ids=["whole", "diagonal"])


def drawn(seed: int, count: int, width: int = 5) -> NDArray[np.float32]:
    """Vectors whose columns differ much in mean and in spread, and are correlated."""
    rng = np.random.default_rng(seed)
    means, spreads = rng.normal(0, 100, width), 10 ** rng.uniform(-1, 2, width)
    raw = rng.standard_normal((count, width)) @ rng.standard_normal((width, width))
    return (means + spreads * raw).astype(np.float32)


def direct(vectors: Floats, full: bool) -> tuple[Vector, Vector]:
    """Compute all at once with numpy: the mean, and the scatter or its diagonal."""
    values = vectors.astype(np.float64)
    scatter = np.cov(values.T, bias=True) * len(values)
    return values.mean(axis=0), scatter if full else np.diagonal(scatter)


def assert_alike(one: Moments, other: Moments, scale: Vector | None = None, digits: float = 1e-9) -> None:
    """Equal, relative to the spread of the columns of `one`, or to `scale`."""
    assert (one.n, one.full) == (other.n, other.full)
    spread = np.sqrt(one.diagonal if scale is None else scale)
    np.testing.assert_allclose(one.mean, other.mean, rtol=digits, atol=1e-12)
    limit = digits * (np.multiply.outer(spread, spread) if one.full else spread**2) + 1e-12
    assert (np.abs(one.scatter - other.scatter) <= limit).all()


@EITHER
@given(seed=SEEDS, count=st.integers(2, 60))
def test_moments_are_what_numpy_computes(full: bool, seed: int, count: int) -> None:
    """Mean and centred scatter, as from one call over all vectors."""
    vectors = drawn(seed, count)
    mean, scatter = direct(vectors, full)
    assert_alike(Moments.of(vectors, full), Moments(count, mean, scatter, np.zeros(5)))


@EITHER
@given(seed=SEEDS, sizes=PARTS)
def test_merging_is_commutative_and_associative(full: bool, seed: int, sizes: list[int]) -> None:
    """In whatever order partial results meet, and where some are of no vectors."""
    vectors = drawn(seed, sum(sizes))
    one, two, three = (Moments.of(part, full) for part in np.split(vectors, np.cumsum(sizes)[:-1]))
    whole = one.merged(two).merged(three)
    assert_alike(whole, one.merged(two.merged(three)))
    assert_alike(whole, three.merged(two).merged(one))
    assert_alike(whole, Moments.of(vectors, full))
    np.testing.assert_allclose(whole.peak, whole.diagonal, rtol=1e-9, atol=1e-9)


@EITHER
@given(seed=SEEDS, kept=st.integers(0, 40), gone=st.integers(0, 40))
def test_removing_undoes_merging(full: bool, seed: int, kept: int, gone: int) -> None:
    """To the rounding of what was there in between."""
    one, two = np.split(drawn(seed, kept + gone), [kept])
    both = Moments.of(one, full).merged(Moments.of(two, full))
    left = both.removed(Moments.of(two, full))
    assert_alike(left, Moments.of(one, full), scale=both.diagonal)
    assert (left.peak >= both.diagonal * (1 - 1e-9)).all()


@EITHER
def test_values_stay_as_they_are(full: bool) -> None:
    """Merging and removing make new values, and leave those they are made of alone."""
    one, two = Moments.of(drawn(1, 20), full), Moments.of(drawn(2, 10), full)
    before = [each.to_bytes() for each in (one, two)]
    one.merged(two).removed(two)
    assert [each.to_bytes() for each in (one, two)] == before


@settings(max_examples=25)
@given(seed=SEEDS)
def test_ten_slices_come_and_go_without_a_trace(seed: int) -> None:
    """Ten random slices added, and some vectors removed in between: eigenvalues are those of one computation."""
    vectors, rng = drawn(seed, 600, 8), np.random.default_rng(seed)
    there = np.zeros(len(vectors), np.bool_)
    moments = Moments.empty(8)
    for rows in np.array_split(rng.permutation(len(vectors)), 10):
        moments = moments.merged(Moments.of(vectors[rows]))
        there[rows] = True
        gone = rng.permutation(np.flatnonzero(there))[:20]
        moments = moments.removed(Moments.of(vectors[gone]))
        there[gone] = False
    left = Moments.of(vectors[there])
    assert moments.n == left.n
    assert moments.trusted
    np.testing.assert_allclose(correlations(moments), correlations(left), rtol=1e-10, atol=1e-10)


def correlations(moments: Moments) -> Floats:
    """Eigenvalues of the correlation matrix."""
    scale = np.sqrt(moments.diagonal)
    return np.linalg.eigvalsh(moments.scatter / np.multiply.outer(scale, scale))


def test_a_large_mean_costs_no_digits() -> None:
    """Mean 10,000 and spread 1, where raw sums of squares are off in single precision."""
    rng = np.random.default_rng(3)
    vectors = (1e4 + rng.standard_normal((20_000, 6))).astype(np.float32)
    exact = vectors.astype(np.longdouble)
    exact -= exact.mean(axis=0)
    variance = (exact**2).mean(axis=0).astype(np.float64)
    whole = Moments.of(vectors)
    parts = Moments.empty(6)
    for part in np.array_split(vectors, 7):
        parts = parts.merged(Moments.of(part))
    for moments in (whole, parts, parts.merged(whole).removed(whole)):
        np.testing.assert_allclose(moments.variance, variance, rtol=1e-9)
    raw = (vectors**2).mean(axis=0) - vectors.mean(axis=0) ** 2
    assert np.abs(raw - variance).max() > 0.01


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many blocks the vectors are squared in, and whether the last one is whole."""
    vectors = drawn(4, 50)
    whole = Moments.of(vectors)
    for rows in (1, 7, 25, 50):
        monkeypatch.setattr("batch.algebra.moments._BLOCK_ROWS", rows)
        assert block_rows(5) == rows
        assert_alike(Moments.of(vectors), whole)


def test_a_block_is_bounded() -> None:
    """64 MB of float64, and one vector at least."""
    assert all(64e6 / 2 < 8 * width * block_rows(width) <= 64 << 20 for width in (1280, 4096, 25_088, 100_352))
    assert block_rows(10**8) == 1
    assert block_rows(2) == 8192


def test_an_accumulator_merges_in_place() -> None:
    """It ends with what pure merging makes, in the memory it began with."""
    vectors = drawn(5, 90)
    start = Moments.of(vectors[:30])
    total = Accumulator(start)
    total.absorb(vectors[30:60].astype(np.float64))
    total.absorb(np.empty((0, 5)))
    total.merge(Moments.of(vectors[60:]))
    assert total.moments().scatter is start.scatter
    assert_alike(total.moments(), Moments.of(vectors))


@EITHER
def test_a_constant_column_does_not_vary(full: bool) -> None:
    """Zeros, a number that float64 cannot add up exactly, and float noise on a large number are constant."""
    rng = np.random.default_rng(6)
    noise = 1e5 * (1 + 1e-8 * rng.standard_normal(1000))
    small = rng.standard_normal(1000) * 1e-6
    moments = Moments.of(np.column_stack([np.zeros(1000), np.full(1000, 0.1), noise, small]), full)
    assert moments.varying.tolist() == [False, False, False, True]
    assert (moments.peak > 0).tolist() == [False, False, False, True]


@EITHER
def test_what_is_empty_has_no_spread(full: bool) -> None:
    """No vectors and one vector: variance 0, nothing varies, nothing is in doubt."""
    for moments in (Moments.empty(3, full), Moments.of(np.empty((0, 3)), full), Moments.of(np.ones((1, 3)), full)):
        assert moments.variance.tolist() == [0, 0, 0]
        assert not moments.varying.any()
        assert moments.trusted


@EITHER
def test_a_ghost_is_not_trusted(full: bool) -> None:
    """A column that varied only by what was removed keeps but rounding of its scatter."""
    vectors = drawn(7, 400)
    vectors[:200, 2] = 5
    moments = Moments.of(vectors, full)
    assert moments.trusted
    left = moments.removed(Moments.of(vectors[200:], full))
    assert not left.trusted
    assert not Moments.from_bytes(left.to_bytes()).trusted
    assert Moments.of(vectors[:200], full).trusted
    assert moments.removed(Moments.of(vectors[300:], full)).trusted


@EITHER
def test_a_column_that_never_varied_stays_trusted(full: bool) -> None:
    """Its scatter is rounding from the start, whatever goes."""
    vectors = drawn(8, 5000)
    vectors[:, 1], vectors[:, 3] = 0, 0.1
    moments = Moments.of(vectors, full)
    for rows in np.array_split(np.arange(4000), 8):
        moments = moments.removed(Moments.of(vectors[rows], full))
        assert moments.trusted
    assert moments.varying.tolist() == [True, False, True, False, True]


@EITHER
def test_removing_all_leaves_nothing_but_the_peak(full: bool) -> None:
    """Exactly the empty value, which remembers what it was."""
    moments = Moments.of(drawn(9, 50), full)
    left = moments.removed(moments)
    assert left.n == 0
    assert not left.mean.any()
    assert not left.scatter.any()
    assert left.peak.tolist() == moments.peak.tolist()


def test_what_does_not_go_together_is_refused() -> None:
    """More vectors than there are, another width, a diagonal with a whole scatter."""
    few, many = Moments.of(drawn(1, 5)), Moments.of(drawn(1, 6))
    with pytest.raises(ValueError, match="6 vectors cannot be removed from 5: make a full pass"):
        few.removed(many)
    for other in (Moments.empty(4), Moments.empty(5, full=False)):
        for join in (few.merged, few.removed, Accumulator(few).merge):
            with pytest.raises(ValueError, match="do not go together"):
                join(other)


@EITHER
@pytest.mark.parametrize("width", [1, 5, 64, 65, 200])
def test_bytes_bring_the_same_back(full: bool, width: int) -> None:
    """Bit by bit, in half the room of a whole scatter."""
    moments = Moments.of(drawn(10, 30, width), full).removed(Moments.of(drawn(10, 30, width)[:10], full))
    data = moments.to_bytes()
    back = Moments.from_bytes(memoryview(data))
    assert back.n == moments.n
    for name in ("mean", "scatter", "peak"):
        np.testing.assert_array_equal(getattr(back, name), getattr(moments, name))
    numbers = width * (width + 1) // 2 if full else width
    assert len(data) == 16 + 24 + 8 * (2 * width + numbers)


@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(at: int, bit: int) -> None:
    """Wherever it is, but for the four bytes that mean nothing."""
    data = bytearray(Moments.of(drawn(11, 9)).to_bytes())
    at %= len(data)
    data[at] ^= 1 << bit
    if at not in range(12, 16):
        with pytest.raises(ValueError, match="VMOM"):
            Moments.from_bytes(bytes(data))


@given(cut=st.integers(0, 10**6))
def test_cut_bytes_are_noticed(cut: int) -> None:
    """After any number of bytes."""
    data = Moments.of(drawn(12, 9)).to_bytes()
    with pytest.raises(ValueError, match="VMOM"):
        Moments.from_bytes(data[: cut % len(data)])
