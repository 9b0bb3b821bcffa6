"""Which pictures a report shows small."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.algebra.vectors import lists
from batch.report.findings import POINTS, Alike, Copies, Duplicates, Label, Rejected, Stray
from batch.report.pictures import named, shown


def points(count: int) -> pa.Table:
    """Return some pictures."""
    uris = [f"p{row}" for row in range(count)]
    columns = [uris, [None] * count, ["batch"] * count, [None] * count, lists(np.zeros((count, 1), np.float32))]
    return pa.table([pa.array(column, each.type) for column, each in zip(columns, POINTS, strict=True)], schema=POINTS)


def had(*uris: str) -> dict[str, NDArray[np.uint8]]:
    """Return thumbnails."""
    return {uri: np.zeros((1, 1, 3), np.uint8) for uri in uris}


def stray(uri: str) -> Stray:
    """Return a picture that strays."""
    return Stray(uri, "plum", 2.0, 1.0, "fig", 1.0, 5.0)


def test_lists_name_pictures() -> None:
    """Each once, the most telling first."""
    twice = Duplicates((Copies("x", ("c", "d"), (None, None)),), alike=(Alike(("a", "b"), (None, None), 0.1, 1.0),))
    labels = [Label("plum", 9, 1.0, None, float("nan"), (stray("o"), stray("s")))]
    rejected = [Rejected("gone", "", 1, (("r", ""),))]
    assert named([stray("s"), stray("c")], twice, labels, rejected) == ["s", "c", "a", "b", "d", "o", "r"]


class TestShown:
    """What has a thumbnail."""

    def test_all_of_few(self) -> None:
        """Those that lists name first, each once."""
        found = shown(["p3", "elsewhere"], points(5), {}, ())
        assert found[:2] == ["p3", "elsewhere"]
        assert sorted(found) == ["elsewhere", "p0", "p1", "p2", "p3", "p4"]

    def test_a_part_of_many(self) -> None:
        """What is there already comes before what must be read, and the rest by chance, but the same again."""
        found = shown(["p3"], points(50), had("p40", "p41"), ("p40", "p41"), most=8)
        assert found[0] == "p3"
        assert set(found[1:3]) == {"p40", "p41"}
        assert len(found) == 8
        assert found == shown(["p3"], points(50), had("p40", "p41"), ("p40", "p41"), most=8)
        assert found[3:] != [f"p{row}" for row in range(5)]

    def test_what_could_not_be_read_is_not_asked_for_again(self) -> None:
        """Wherever it is named."""
        assert sorted(shown(["p0"], points(3), had("p1"), ("p0", "p1"))) == ["p1", "p2"]
