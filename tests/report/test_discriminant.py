"""Scatter within labels, and which label a vector is more like."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from batch.algebra.discriminant import Discriminant, LabelScatter, places_of, shrinkage

NAMES = (None, "apple", "plum", "quince")
Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def drawn(count: int, width: int, seed: int = 0, labels: int = 4) -> tuple[Places, Floats]:
    """Draw places of labels and vectors around the labels' centres."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 3, (labels, width))
    places = random.integers(0, labels, count)
    return places, centres[places] + random.normal(0, 1, (count, width)) * np.linspace(3, 0.3, width)


def brute(names: tuple[str | None, ...], places: Places, vectors: Floats) -> LabelScatter:
    """Take the statistics one vector after the other."""
    found = LabelScatter.empty(names, vectors.shape[1])
    for place, name in enumerate(names):
        mine = vectors[places == place]
        if len(mine):
            off = mine - mine.mean(axis=0)
            found.counts[place], found.means[place], found.squares[place] = len(mine), mine.mean(axis=0), (off**2).sum()
            if name is not None:
                found.scatter[:] += off.T @ off
    return found


def assert_same(one: LabelScatter, other: LabelScatter) -> None:
    """Compare two values, but for rounding."""
    assert one.names == other.names
    np.testing.assert_array_equal(one.counts, other.counts)
    for name in ("means", "squares", "scatter"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-9)


class TestScatter:
    """Counts, means and scatter by label."""

    @settings(max_examples=60)
    @given(st.integers(0, 40), st.integers(1, 5), st.integers(0, 40), st.integers(0, 2**32 - 1))
    def test_merged_parts_are_the_whole(self, count: int, width: int, cut: int, seed: int) -> None:
        """Wherever the rows are cut, and with vectors of no label of these among them."""
        places, vectors = drawn(count, width, seed, labels=5)
        places -= 1
        vectors += 1e3
        parts = (slice(0, min(cut, count)), slice(min(cut, count), None))
        one, other = (LabelScatter.of(NAMES, places[part], vectors[part]) for part in parts)
        assert_same(one.merged(other), brute(NAMES, places, vectors))

    def test_the_spread_is_the_usual_distance(self) -> None:
        """Root mean square, of each label by itself; 0 for a label that none bears."""
        found = LabelScatter.of(NAMES, np.array([1, 1, 2]), np.array([[0.0, 0], [6, 8], [1, 1]]))
        assert found.spreads.tolist() == [0, 5, 0, 0]

    def test_other_labels_do_not_go_together(self) -> None:
        """Nor do other widths."""
        with pytest.raises(ValueError, match="do not go together"):
            LabelScatter.empty(NAMES, 2).merged(LabelScatter.empty(NAMES, 3))

    def test_places_of_labels(self) -> None:
        """None is a label like any other, and an unknown one has no place."""
        assert places_of(pa.array(["plum", None, "fig", "apple"]), NAMES).tolist() == [2, 0, -1, 1]
        assert places_of(pa.array(["plum", None]), ("plum",)).tolist() == [0, -1]
        assert places_of(pa.chunked_array([], pa.string()), NAMES).tolist() == []


class TestShrinkage:
    """How much of the identity the covariance gets."""

    def test_the_share_of_the_paper(self) -> None:
        """Equation 23 of Chen et al., written out."""
        covariance = np.diag([4.0, 2.0, 1.0])
        square, trace, width, n = 21.0, 7.0, 3, 50
        wanted = ((1 - 2 / width) * square + trace**2) / ((n + 1 - 2 / width) * (square - trace**2 / width))
        assert shrinkage(covariance, n) == pytest.approx(wanted)

    @pytest.mark.parametrize("covariance", [np.eye(3), np.eye(1) * 7])
    def test_what_is_the_identity_already(self, covariance: Floats) -> None:
        """There is nothing to divide by."""
        assert shrinkage(covariance, 10) == 1

    def test_few_pictures_get_more_of_it(self) -> None:
        """And many next to none."""
        covariance = np.diag([4.0, 2.0, 1.0])
        shares = [shrinkage(covariance, count) for count in (2, 20, 2_000, 10**9)]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] == 1
        assert shares[-1] == 1e-6


class TestLikeness:
    """Distances, and suspicion."""

    def test_leaving_the_picture_out_is_exact(self) -> None:
        """Its own label's centre is that of the others, recomputed; every other centre is of all."""
        places, vectors = drawn(60, 4)
        found = LabelScatter.of(NAMES, places, vectors)
        measured = Discriminant(found).likeness(places, vectors)
        named = found.counts[1:]
        freedom = named.sum() - 3
        covariance = found.scatter / freedom
        share = shrinkage(covariance, int(freedom))
        precision = np.linalg.inv((1 - share) * covariance + share * np.eye(4) * np.trace(covariance) / 4)
        for row, place in enumerate(places):
            if place == 0:
                assert np.isnan(measured.suspicion[row])
                continue
            others = (places == place) & (np.arange(60) != row)
            means = [vectors[others if each == place else places == each].mean(axis=0) for each in range(4)]
            squares = [(vectors[row] - mean) @ precision @ (vectors[row] - mean) for mean in means]
            rivals = {each: squares[each] for each in (1, 2, 3) if each != place}
            nearest = min(rivals, key=lambda each: rivals[each])
            assert measured.nearest[row] == nearest
            assert measured.suspicion[row] == pytest.approx((squares[place] - squares[nearest]) / 2)
            assert measured.distance[row] == pytest.approx(np.linalg.norm(vectors[row] - found.means[place]))
            assert measured.nearest_distance[row] == pytest.approx(np.linalg.norm(vectors[row] - found.means[nearest]))

    def test_it_is_the_discriminant_of_scikit_learn(self) -> None:
        """Between labels with as many pictures each, but for the picture's part in its own mean."""
        random = np.random.default_rng(3)
        places = np.repeat([1, 2, 3], 4_000)
        vectors = random.normal(0, 1, (12_000, 5)) @ random.normal(0, 1, (5, 5)) + random.normal(0, 2, (4, 5))[places]
        measured = Discriminant(LabelScatter.of(NAMES, places, vectors)).likeness(places, vectors)
        theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(vectors, places)
        guessed = theirs.predict(vectors)
        assert np.mean((measured.suspicion > 0) == (guessed != places)) > 0.999

    def test_a_vector_under_a_wrong_label_is_found(self) -> None:
        """Before all that bear their own, and told as the label that it is of."""
        places, vectors = drawn(400, 6, seed=1)
        wrong = np.flatnonzero(places == 1)[:5]
        places[wrong] = 3
        measured = Discriminant(LabelScatter.of(NAMES, places, vectors)).likeness(places, vectors)
        suspicious = np.argsort(-np.nan_to_num(measured.suspicion, nan=-np.inf))[:5]
        assert set(suspicious) == set(wrong)
        assert set(measured.nearest[wrong]) == {1}

    def test_many_rows_are_as_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """They are worked on some at a time."""
        places, vectors = drawn(50, 3)
        judge = Discriminant(LabelScatter.of(NAMES, places, vectors))
        whole = judge.likeness(places, vectors)
        monkeypatch.setattr("batch.algebra.discriminant._AT_ONCE", 28)
        parts = judge.likeness(places, vectors)
        for name in ("distance", "nearest", "nearest_distance", "suspicion"):
            np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12)


class TestLittle:
    """What cannot be judged is not, and nothing fails."""

    def likeness(self, names: tuple[str | None, ...], places: list[int], vectors: list[Any]) -> Any:
        """Judge all vectors by themselves."""
        rows, which = np.array(vectors, np.float32), np.array(places)
        return Discriminant(LabelScatter.of(names, which, rows)).likeness(which, rows)

    def test_no_label_at_all(self) -> None:
        """A distance to the centre of those without one, and no suspicion."""
        found = self.likeness((None,), [0, 0], [[0, 0], [2, 0]])
        assert found.distance.tolist() == [1, 1]
        assert found.nearest.tolist() == [-1, -1]
        assert np.isnan(found.suspicion).all()
        assert np.isnan(found.nearest_distance).all()

    def test_one_label(self) -> None:
        """There is no other to be more like, and without a label is none."""
        found = self.likeness((None, "a"), [0, 1, 1], [[5, 5], [0, 0], [2, 0]])
        assert found.nearest.tolist() == [1, -1, -1]
        assert np.isnan(found.suspicion).all()

    def test_a_label_of_one_picture(self) -> None:
        """Nothing tells what its others would be like; it is another label to the others."""
        found = self.likeness(("a", "b"), [0, 0, 0, 1], [[0], [1], [9], [9]])
        assert np.isnan(found.suspicion[3])
        assert found.nearest.tolist() == [1, 1, 1, 0]
        assert found.suspicion[2] > 0 > found.suspicion[1]

    def test_labels_of_one_picture_only(self) -> None:
        """Nothing varies within any: distances are as they are."""
        found = self.likeness(("a", "b"), [0, 1], [[0, 0], [3, 4]])
        assert found.nearest_distance.tolist() == [5, 5]
        assert np.isnan(found.suspicion).all()

    def test_a_label_that_is_not_told_apart(self) -> None:
        """It has no distance, and the nearest label is that of those told apart."""
        found = self.likeness(("a", "b"), [0, 0, 1, 1, -1], [[0], [1], [8], [9], [7]])
        assert np.isnan(found.distance[4])
        assert np.isnan(found.suspicion[4])
        assert found.nearest[4] == 1

    def test_a_label_that_nobody_bears(self) -> None:
        """It is nobody's nearest."""
        found = self.likeness(("a", "b", "nobody"), [0, 0, 1, 1], [[-1], [1], [3], [4]])
        assert set(found.nearest) == {0, 1}

    def test_pictures_that_are_all_the_same(self) -> None:
        """They are as like one label as the other."""
        found = self.likeness(("a", "b"), [0, 0, 1, 1], [[1, 2]] * 4)
        assert found.suspicion.tolist() == [0, 0, 0, 0]
