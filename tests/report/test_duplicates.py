"""Pictures that are there more than once."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from batch.algebra.vectors import lists
from batch.own_labels import OwnLabels
from batch.report import duplicates as module
from batch.report.duplicates import Exact, duplicates, exact, near, uris_of
from batch.report.findings import POINTS, Alike, Copies
from batch.report.resemblance import Near
from batch.rows.winners import snapshot, winners
from conf.schemas import FEATURES
from tests.unit.lakes import ONE, OTHER, Orchard, seconds

NOTHING = Exact((), 0, 0, pa.array([], pa.string()))


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Return an empty lake."""
    return Orchard(tmp_path / "lake")


def found_in(orchard: Orchard) -> Exact:
    """Look for copies among the rows that count."""
    now = snapshot(orchard.paths.table(FEATURES), ONE)
    return exact(winners(now, pa.array([], pa.string())).parts)


def points(values: NDArray[np.float32]) -> pa.Table:
    """Return pictures a, b, c ... with some components."""
    names = [chr(ord("a") + row) for row in range(len(values))]
    columns = [names, [name.upper() for name in names], ["batch"] * len(names), [0.0] * len(names), lists(values)]
    return pa.table([pa.array(column, each.type) for column, each in zip(columns, POINTS, strict=True)], schema=POINTS)


NO_COPIES = pa.table({"uri": pa.array([], pa.string()), "sha256": pa.array([], pa.string())})


class TestExact:
    """The same bytes."""

    def test_groups_the_largest_first(self, orchard: Orchard) -> None:
        """With every picture and its label, over all files."""
        orchard.outcome({"uri": "b", "sha256": "x", "label": "plum"}, {"uri": "c", "sha256": "y"}, {"uri": "d"})
        orchard.outcome({"uri": "a", "sha256": "x"}, {"uri": "e", "sha256": "z"}, {"uri": "f", "sha256": "z"})
        orchard.outcome({"uri": "g", "sha256": "z", "label": "fig"}, {"uri": "h"})
        found = found_in(orchard)
        assert found.copies == (
            Copies("z", ("e", "f", "g"), (None, None, "fig")),
            Copies("x", ("a", "b"), (None, "plum")),
        )
        assert (found.groups, found.surplus) == (2, 3)
        assert found.named.to_pylist() == [
            *({"uri": name, "sha256": "x"} for name in "ab"),
            *({"uri": name, "sha256": "z"} for name in "efg"),
        ]

    def test_only_what_counts(self, orchard: Orchard) -> None:
        """An older version of a picture, a rejection and another featurizer's rows are no copies."""
        orchard.outcome({"uri": "a", "sha256": "x"}, {"uri": "b", "sha256": "x"})
        orchard.outcome({"uri": "b", "sha256": "y", "landed_at": seconds(1)})
        orchard.outcome({"uri": "c", "sha256": "x", "rejection": "corrupt"})
        orchard.outcome({"uri": "d", "sha256": "x"}, featurizer=OTHER)
        assert found_in(orchard).copies == ()

    def test_as_many_as_are_shown(self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """And how many there are besides."""
        monkeypatch.setattr(module, "SHOWN", 2)
        monkeypatch.setattr(module, "SHOWN_OF_A_GROUP", 3)
        rows = [{"uri": f"{name}{number}", "sha256": name} for name in "wxyz" for number in range(4)]
        orchard.outcome(*rows, {"uri": "y9", "sha256": "y"})
        found = found_in(orchard)
        assert [(each.sha256, each.uris, each.more) for each in found.copies] == [
            ("y", ("y0", "y1", "y2"), 2),
            ("w", ("w0", "w1", "w2"), 1),
        ]
        assert (found.groups, found.surplus, found.named.num_rows) == (4, 13, 17)

    def test_hashes_that_are_equal_by_chance(self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """They cost a look, and make no copy."""
        monkeypatch.setattr(module, "hashes_of", lambda texts: np.zeros(len(texts), np.int64))
        orchard.outcome(*({"uri": name, "sha256": sha} for name, sha in zip("abcd", "xyxz", strict=True)))
        assert [each.uris for each in found_in(orchard).copies] == [("a", "c")]

    def test_an_empty_table(self, orchard: Orchard) -> None:
        """It has no copies."""
        found = found_in(orchard)
        assert (found.copies, found.groups, found.surplus, found.named.num_rows) == ((), 0, 0, 0)

    def test_labels_of_ones_own(self, orchard: Orchard) -> None:
        """They are told instead of those of the table."""
        own = OwnLabels("labels.csv", pa.array(["a"]), pa.array(["mine"]))
        orchard.outcome(*({"uri": name, "sha256": "x", "label": "plum"} for name in "ab"))
        now = snapshot(orchard.paths.table(FEATURES), ONE)
        assert exact(now.parts, own).copies == (Copies("x", ("a", "b"), ("mine", None)),)


class TestNear:
    """Candidates among the pictures that are drawn."""

    values = np.array([[0, 0], [9, 9], [0, 0.1], [9, 9.2], [9, 9], [-9, 5], [5, -9]], np.float32)

    def test_copies_take_part_once(self) -> None:
        """The first of those that are drawn; places are those of the pictures that were given."""
        copies = pa.table({"uri": ["b", "e", "f", "missing"], "sha256": ["x", "x", "y", "y"]})
        found = near(points(self.values), self.values, copies)
        assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(0, 2), (1, 3)]
        assert found.searched == 6

    def test_thumbnails_are_asked_for_in_pairs(self) -> None:
        """Those of the nearest pairs, each picture once."""
        found = near(points(self.values), self.values, NO_COPIES)
        assert uris_of(points(self.values), found, 100) == ["b", "e", "a", "c", "d"]
        assert uris_of(points(self.values), found, 3) == ["b", "e", "a"]


class TestDuplicates:
    """What is told in the end."""

    pairs = Near(np.array([0, 1, 2]), np.array([1, 2, 3]), np.array([0.1, 0.2, 5.0]), usual=10.0, searched=4)
    seen = points(np.zeros((4, 1), np.float32))

    def thumbnails(self, **levels: int) -> dict[str, NDArray[np.uint8]]:
        """Return thumbnails of one level each."""
        return {name: np.full((32, 32, 3), level, np.uint8) for name, level in levels.items()}

    def test_the_most_alike_first(self) -> None:
        """By their thumbnails, in which near ones may differ and others not."""
        found = duplicates(NOTHING, self.seen, self.pairs, self.thumbnails(a=0, b=3, c=8, d=7))
        assert found.alike == (
            Alike(("c", "d"), ("C", "D"), 5.0, 1.0),
            Alike(("a", "b"), ("A", "B"), 0.1, 3.0),
        )
        assert (found.pairs, found.searched, found.compared) == (2, 4, 4)

    def test_without_thumbnails(self) -> None:
        """Only what lies very near, after all that was compared."""
        found = duplicates(NOTHING, self.seen, self.pairs, self.thumbnails(c=7, d=7))
        assert [(each.uris, each.difference) for each in found.alike] == [
            (("c", "d"), 0.0),
            (("a", "b"), None),
            (("b", "c"), None),
        ]

    def test_as_many_as_are_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """All of them are counted."""
        monkeypatch.setattr(module, "SHOWN", 1)
        found = duplicates(NOTHING, self.seen, self.pairs, {})
        assert (len(found.alike), found.pairs) == (1, 2)
