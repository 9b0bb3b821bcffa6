from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from batch.algebra.labels import LabelMeans, LabelSums, grown, keep, most_labels

NAMES = ["apple", "grape", "pear", "prüne \u2028", "", None]
KEPT = frozenset(["apple", "prüne \u2028", None])
LABELS = st.lists(st.sampled_from(NAMES), max_size=40)


def drawn(seed: int, count: int) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal((count, 4)) + 7).astype(np.float32)


def of(labels: list[Any], vectors: NDArray[np.float32], kept: frozenset[str | None] = KEPT) -> LabelMeans:
    return LabelMeans.of(pa.array(labels, pa.string()), vectors, kept)


def assert_alike(one: LabelMeans, other: LabelMeans) -> None:
    assert (one.names, one.counts.tolist(), one.other) == (other.names, other.counts.tolist(), other.other)
    np.testing.assert_allclose(one.means, other.means, rtol=1e-9)
    np.testing.assert_allclose(one.other_mean, other.other_mean, rtol=1e-9)


@given(labels=LABELS)
def test_each_kept_label_has_count_and_mean(labels: list[Any]) -> None:
    """Of its own vectors; all other labels have one of both together."""
    vectors = drawn(1, len(labels))
    means = of(labels, vectors)
    assert set(means.names) == KEPT & set(labels)
    assert means.n == len(labels)
    for name, count, mean in zip(means.names, means.counts, means.means, strict=True):
        rows = [each == name for each in labels]
        assert count == sum(rows)
        np.testing.assert_allclose(mean, vectors[rows].mean(axis=0), rtol=1e-6)
    rest = [each not in KEPT for each in labels]
    assert means.other == sum(rest)
    np.testing.assert_allclose(means.other_mean, vectors[rest].mean(axis=0) if any(rest) else np.zeros(4), rtol=1e-6)


@given(labels=LABELS, cut=st.integers(0, 40))
def test_merging_is_as_from_all_at_once_and_removing_undoes_it(labels: list[Any], cut: int) -> None:
    """In either order; a label that none bears any more is gone."""
    vectors = drawn(2, len(labels))
    one, two = of(labels[:cut], vectors[:cut]), of(labels[cut:], vectors[cut:])
    both = one.merged(two)
    assert_alike(both, of(labels, vectors))
    assert_alike(both, two.merged(one))
    assert_alike(both.removed(two), one)
    assert_alike(both.removed(both), LabelMeans.empty(4))


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_labels_may_come_in_any_kind_of_strings(kind: pa.DataType) -> None:
    """Large, or as a dictionary, which Arrow makes of few strings."""
    labels, vectors = ["pear", None, "apple", "apple"], drawn(3, 4)
    column = pa.chunked_array([pa.array(labels, pa.string()).cast(kind)])
    assert_alike(LabelMeans.of(column, vectors, KEPT), of(labels, vectors))


def test_no_labels_at_all() -> None:
    """A column of nothing but nulls, of the type null."""
    assert LabelMeans.of(pa.nulls(3), drawn(4, 3), KEPT).names == (None,)
    assert LabelMeans.of(pa.nulls(3), drawn(4, 3), frozenset()).other == 3


def test_many_vectors_of_one_label_are_summed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no copy of the block is made; the mean is the same."""
    monkeypatch.setattr("batch.algebra.labels._GATHERED", 7)
    labels, vectors = ["apple", "pear"] * 50, drawn(5, 100)
    assert_alike(of(labels, vectors), of(labels[:1], vectors[:1]).merged(of(labels[1:], vectors[1:])))


def test_sums_grow_block_by_block() -> None:
    """What comes in blocks is what comes at once."""
    labels, vectors = NAMES * 5, drawn(6, 30)
    sums = LabelSums(4, KEPT)
    for start in (0, 11, 22):
        sums.add(pa.array(labels[start : start + 11], pa.string()), vectors[start : start + 11])
    assert_alike(sums.means(), of(labels, vectors))


def test_what_is_not_there_cannot_be_removed() -> None:
    """A label that none bears, more than there are, and another width."""
    means = of(["apple", "pear"], drawn(7, 2))
    with pytest.raises(ValueError, match="1 vectors of label None cannot be removed from 0: make a full pass"):
        means.removed(of([None], drawn(7, 1)))
    with pytest.raises(ValueError, match="2 vectors of label 'apple' cannot be removed from 1"):
        means.removed(of(["apple", "apple"], drawn(7, 2)))
    with pytest.raises(ValueError, match="2 vectors of other labels cannot be removed from 1"):
        means.removed(of(["pear", "grape"], drawn(7, 2)))
    with pytest.raises(ValueError, match="do not go together"):
        means.merged(LabelMeans.empty(3))


@given(labels=LABELS)
def test_bytes_bring_the_same_back(labels: list[Any]) -> None:
    """Bit by bit, whatever characters the names have."""
    means = of(labels, drawn(8, len(labels)))
    back = LabelMeans.from_bytes(memoryview(means.to_bytes()))
    assert (back.names, back.counts.tolist(), back.other) == (means.names, means.counts.tolist(), means.other)
    np.testing.assert_array_equal(back.means, means.means)
    np.testing.assert_array_equal(back.other_mean, means.other_mean)


@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(at: int, bit: int) -> None:
    """Wherever it is, but for the four bytes that mean nothing."""
    data = bytearray(of(NAMES, drawn(9, len(NAMES))).to_bytes())
    at %= len(data)
    data[at] ^= 1 << bit
    if at not in range(12, 16):
        with pytest.raises(ValueError, match="VLBL"):
            LabelMeans.from_bytes(bytes(data))


def test_the_largest_labels_are_kept() -> None:
    """Of equal ones the first by name, and none before all."""
    counts = {"pear": 3, "apple": 3, None: 3, "grape": 9, "fig": 1}
    assert keep(counts, 2) == {"grape", None}
    assert keep(counts, 3) == {"grape", None, "apple"}
    assert keep(counts, 9) == counts.keys()


def test_labels_are_bounded_by_number_and_by_memory() -> None:
    """1,000, or 64 MiB of means where the vectors are wide, and one at least."""
    assert most_labels(1280) == 1000
    assert most_labels(100_352) == 83
    assert most_labels(10**9) == 1


def test_new_labels_are_taken_in_while_there_is_room() -> None:
    """The first ones that come, beside all that were there."""
    before = of(["apple", None], drawn(10, 2))
    assert grown(before, ["fig", "apple", "fig", "pear"], 3) == {"apple", None, "fig"}
    assert grown(before, ["fig"], 1) == {"apple", None}


def test_the_set_is_closed_once_labels_are_counted_together() -> None:
    """A vector among the others may bear the label that seems new."""
    before = of(["apple", "pear"], drawn(11, 2))
    assert before.other == 1
    assert grown(before, ["fig", "pear"], 9) == {"apple"}
