"""Which pictures are drawn."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from batch.report.sampling import draw, hashes_of, quotas


def pictures(*counts: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return strata of some sizes, and the hashes of their pictures' uris."""
    strata = np.repeat(np.arange(len(counts)), counts)
    return strata, hashes_of(f"file:///landing/{number}.jpg" for number in range(len(strata)))


class TestQuotas:
    """How many of each label."""

    @given(st.lists(st.integers(0, 3_000), min_size=1, max_size=60), st.integers(1, 4_000))
    def test_as_many_as_asked_for(self, counts: list[int], most: int) -> None:
        """Never more than there are; every label has 20, or all that it has, or its fair part of too little room."""
        found = quotas(np.array(counts), most)
        assert found.sum() == min(sum(counts), most)
        assert (found <= counts).all()
        least = min(20, most // max(1, int(np.count_nonzero(counts))))
        assert (found >= np.minimum(counts, least)).all()

    def test_in_proportion(self) -> None:
        """But for small labels, which are drawn whole or up to 20."""
        assert quotas(np.array([60_000, 30_000, 10_000, 40, 5]), 10_025).tolist() == [6_000, 3_000, 1_000, 20, 5]


class TestDraw:
    """Which pictures."""

    def test_all_where_there_are_few(self) -> None:
        """And there is no rule to tell."""
        strata, hashes = pictures(3, 0, 5)
        found = draw(strata, hashes, 8)
        assert found.of(strata, hashes).all()
        assert found.rule == ""

    def test_nothing_of_nothing(self) -> None:
        """An empty view has an empty sample."""
        strata, hashes = pictures()
        assert draw(strata, hashes, 8).of(strata, hashes).tolist() == []

    def test_as_many_of_each_as_its_quota(self) -> None:
        """The sentence says what was done."""
        strata, hashes = pictures(4_000, 900, 30, 2)
        found = draw(strata, hashes, 500)
        drawn = np.bincount(strata[found.of(strata, hashes)])
        assert drawn.tolist() == quotas(np.array([4_000, 900, 30, 2]), 500).tolist()
        assert found.rule == (
            "500 of 4,932 pictures are drawn: of each label in proportion, but at least 20 or all that it has; "
            "chosen by a hash of their uri, so the same ones each time"
        )

    def test_more_labels_than_room(self) -> None:
        """Some labels have none, and as many are drawn as asked for."""
        strata, hashes = pictures(*[2] * 50)
        assert draw(strata, hashes, 30).of(strata, hashes).sum() == 30

    def test_the_order_in_which_pictures_come_does_not_matter(self) -> None:
        """Nor do pictures of other labels."""
        strata, hashes = pictures(500, 800)
        turned = draw(strata[::-1], hashes[::-1], 100)
        assert (turned.of(strata, hashes) == draw(strata, hashes, 100).of(strata, hashes)).all()

    def test_another_process_draws_the_same(self) -> None:
        """Python's own hash differs from one to the next."""
        code = "from batch.report.sampling import hashes_of; print(hashes_of(['file:///a%20b.jpg', 's3://c/é'])[1])"
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert int(said) == int(hashes_of(["file:///a%20b.jpg", "s3://c/é"])[1])

    @pytest.mark.parametrize("seed", range(3))
    def test_it_is_by_chance(self, seed: int) -> None:
        """A part of the pictures that has nothing to do with their names is drawn as often as any other."""
        strata, hashes = pictures(20_000)
        chosen = draw(strata, hashes, 5_000).of(strata, hashes)
        part = np.random.default_rng(seed).permutation(20_000) < 10_000
        assert abs(chosen[part].mean() - 0.25) < 0.02
        assert abs(chosen[:10_000].mean() - 0.25) < 0.02
