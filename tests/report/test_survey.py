"""What three readings of a view find: labels, outliers, strays, a sample."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from batch.algebra.vectors import lists
from batch.own_labels import OwnLabels
from batch.report import first_reading
from batch.report.findings import POINTS, Label
from batch.report.first_reading import Read
from batch.report.survey import Survey, survey

Floats = NDArray[np.float32]


@dataclass
class Rows:
    """A view in memory, read some rows at a time."""

    labels: list[str | None]
    values: Floats
    at_once: int = 7
    sources: dict[int, str] = field(default_factory=dict)

    @property
    def uris(self) -> list[str]:
        """Give the uris of its pictures."""
        return [f"file:///landing/{number:04}.jpg" for number in range(len(self.labels))]

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield batches, as a view does."""
        table = pa.table(
            {
                "uri": pa.array(self.uris, pa.string()),
                "label": pa.array(self.labels, pa.string()),
                "source": pa.array([self.sources.get(row, "batch") for row in range(len(self.labels))], pa.string()),
                "components": lists(self.values),
            }
        )
        yield from table.select(list(columns)).to_batches(self.at_once)

    def survey(self, **asked: object) -> Survey:
        """Survey it."""
        return survey(self.read, self.values.shape[1], **asked)  # type: ignore[arg-type]


def clusters(sizes: dict[str | None, int], width: int = 3, seed: int = 0) -> Rows:
    """Draw a view with a cluster of pictures for each label, far from each other."""
    random = np.random.default_rng(seed)
    labels = [name for name, size in sizes.items() for _ in range(size)]
    centres = {name: random.normal(0, 20, width) for name in sizes}
    values = np.array([centres[name] for name in labels]) + random.normal(0, 1, (len(labels), width))
    return Rows(labels, values.astype(np.float32))


def by_name(found: Survey) -> dict[str | None, Label]:
    """Give the labels by their names."""
    return {each.name: each for each in found.labels}


class TestLabels:
    """How many, how wide, and which is nearest."""

    def test_against_all_in_memory(self) -> None:
        """None comes first; its centre is nobody's nearest."""
        rows = clusters({"plum": 40, None: 9, "apple": 25, "fig": 12})
        found = rows.survey()
        assert [each.name for each in found.labels] == [None, "apple", "fig", "plum"]
        which = np.array([name or "" for name in rows.labels])
        centres = {name: rows.values[which == (name or "")].astype(float).mean(axis=0) for name in set(rows.labels)}
        for each in found.labels:
            mine = rows.values[which == (each.name or "")].astype(float)
            assert each.n == len(mine)
            off = mine - centres[each.name]
            assert each.spread == pytest.approx(np.sqrt((off**2).sum(axis=1).mean()))
            apart = {
                name: np.linalg.norm(centre - centres[each.name])
                for name, centre in centres.items()
                if name not in (None, each.name)
            }
            assert each.nearest == min(apart, key=lambda name: float(apart[name]))
            assert each.nearest_distance == pytest.approx(apart[each.nearest])

    def test_its_farthest_pictures(self) -> None:
        """Five, the farthest first, and only such as are farther than usual."""
        rows = clusters({"plum": 40, "apple": 2, None: 8})
        found = by_name(rows.survey())
        values = rows.values[:40].astype(float)
        distances = np.linalg.norm(values - values.mean(axis=0), axis=1)
        farthest = np.argsort(-distances)[:5]
        assert [each.uri for each in found["plum"].outliers] == [rows.uris[row] for row in farthest]
        np.testing.assert_allclose([each.distance for each in found["plum"].outliers], distances[farthest])
        assert {each.usual for each in found["plum"].outliers} == {found["plum"].spread}
        assert {each.nearest for each in found["plum"].outliers} == {"apple"}
        # Of two, both are as far as usual; without a label there is no centre to be far from.
        assert found["apple"].outliers == ()
        assert found[None].outliers == ()

    def test_more_labels_than_there_is_room_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The largest are told, and how many are not; pictures of the others are drawn, without a distance."""
        monkeypatch.setattr(first_reading, "most_labels", lambda width: 2)
        rows = clusters({"plum": 9, "fig": 3, "apple": 7, "quince": 2})
        found = rows.survey()
        assert [each.name for each in found.labels] == ["apple", "plum"]
        assert found.beyond == 2
        points = found.sample.points.to_pylist()
        assert {row["label"] for row in points if row["distance"] is None} == {"fig", "quince"}
        assert len(points) == 21
        assert rows.survey(most=20).sample.rule.endswith("; the 2 smallest labels count as one")


class TestStrays:
    """Pictures that may bear a wrong label."""

    def test_planted_ones_come_first(self) -> None:
        """With the label that they are more like."""
        rows = clusters({"plum": 40, "apple": 40, "fig": 40})
        rows.labels[3], rows.labels[50] = "fig", "plum"
        found = rows.survey().strays
        assert {(each.uri, each.label, each.nearest) for each in found[:2]} == {
            (rows.uris[3], "fig", "plum"),
            (rows.uris[50], "plum", "apple"),
        }
        assert all(each.suspicion > 0 for each in found)
        assert [each.suspicion for each in found] == sorted((each.suspicion for each in found), reverse=True)
        assert all(each.distance > each.usual for each in found)

    def test_as_many_as_are_shown(self) -> None:
        """However many there are."""
        rows = clusters({"plum": 300, "apple": 300})
        for row in range(20):
            rows.labels[row] = "apple"
        few = rows.survey(strays=4)
        assert [each.label for each in few.strays] == ["apple"] * 4
        assert few.suspected == len(rows.survey().strays)

    def test_none_where_all_is_well(self) -> None:
        """A picture that is more like its own is no stray, and one without a label has none to stray from."""
        assert clusters({"plum": 30, "apple": 30, None: 9}).survey().strays == ()


class TestSample:
    """What is drawn."""

    def test_all_of_few(self) -> None:
        """With the source of each, its distance from its centre, and ten axes at most."""
        rows = clusters({"plum": 20, None: 3}, width=12)
        rows.sources[22] = "provisional"
        found = rows.survey()
        assert (found.n, found.provisional, found.sample.of, found.sample.rule) == (23, 1, 23, "")
        points = found.sample.points
        assert points.schema == POINTS
        assert points["uri"].to_pylist() == rows.uris
        assert points["label"].to_pylist() == rows.labels
        assert points["source"].to_pylist() == ["batch"] * 22 + ["provisional"]
        np.testing.assert_array_equal(np.array(points["components"].to_pylist(), np.float32), rows.values[:, :10])
        np.testing.assert_array_equal(found.drawn, rows.values)
        values = rows.values[:20].astype(float)
        wanted = np.linalg.norm(values - values.mean(axis=0), axis=1)
        np.testing.assert_allclose(points["distance"].to_pylist()[:20], wanted, rtol=1e-6)
        assert points["distance"].to_pylist()[20:] == [None] * 3

    def test_a_part_of_many(self) -> None:
        """Of each label its part, and what they are is not mixed up."""
        rows = clusters({"plum": 400, "apple": 100, "fig": 4})
        found = rows.survey(most=100)
        points = found.sample.points
        names = points["label"].to_pylist()
        assert {name: names.count(name) for name in set(names)} == {"plum": 76, "apple": 20, "fig": 4}
        assert found.sample.of == 504
        assert "100 of 504" in found.sample.rule
        numbers = [rows.uris.index(uri) for uri in points["uri"].to_pylist()]
        np.testing.assert_array_equal(found.drawn, rows.values[numbers])

    def test_however_it_is_read(self) -> None:
        """In small batches or at once."""
        small, large = clusters({"plum": 50, "apple": 20}), clusters({"plum": 50, "apple": 20})
        large.at_once = 10_000
        one, other = small.survey(most=50), large.survey(most=50)
        assert one.sample.points.equals(other.sample.points)
        assert [each.uri for each in one.strays] == [each.uri for each in other.strays]
        outliers = [[[each.uri for each in label.outliers] for label in found.labels] for found in (one, other)]
        assert outliers[0] == outliers[1]


def test_labels_of_ones_own_replace_all_others() -> None:
    """Also where they say nothing of a picture."""
    rows = clusters({"plum": 30})
    uris = [each for batch in rows.read(("uri",)) for each in batch["uri"].to_pylist()]
    # The number's last digit, and none for zeros.
    named = [each for each in uris if each[-5] != "0"]
    own = OwnLabels("labels.csv", pa.array(named), pa.array([each[-5] for each in named]))
    found = rows.survey(labels=own)
    assert [(each.name, each.n) for each in found.labels] == [(None, 3)] + [(str(digit), 3) for digit in range(1, 10)]
    assert found.sample.points["label"].to_pylist()[:3] == [None, "1", "2"]


def test_it_tells_how_far_it_is() -> None:
    """Of each reading, up to the last picture."""
    said: list[tuple[str, float, float]] = []

    def say(text: str, done: float = 0, total: float = 0) -> None:
        said.append((text, done, total))

    clusters({"plum": 30}).survey(say=say)
    assert said[0] == ("reading the feature space", 0, 0)
    ends = {text: (done, total) for text, done, total in said}
    assert list(ends.values()) == [(30, 0), (30, 30), (30, 30)]


class TestLittle:
    """Degenerate views."""

    @pytest.mark.parametrize(
        "rows",
        [
            Rows([], np.zeros((0, 3), np.float32)),
            Rows([None, None], np.array([[0], [1]], np.float32)),
            Rows(["a", "a"], np.array([[0], [1]], np.float32)),
            Rows(["a", "b"], np.array([[0, 0], [1, 1]], np.float32)),
            Rows(["a", "b", "c"], np.array([[5, 5]] * 3, np.float32)),
            Rows(["a", "a", "b", "b"], np.array([[0.1, 0.7]] * 4, np.float32)),
        ],
        ids=["nothing", "no label", "one label", "a picture a label", "the same, a picture a label", "the same"],
    )
    def test_nothing_to_tell(self, rows: Rows) -> None:
        """There are the labels, and neither outliers nor strays."""
        found = rows.survey()
        assert [each.name for each in found.labels] == sorted(set(rows.labels), key=lambda name: name or "")
        assert found.strays == ()
        assert all(each.outliers == () for each in found.labels)
        assert found.sample.points.num_rows == len(rows.labels) == found.n

    def test_vectors_that_are_not_usable(self) -> None:
        """They have no place among the others."""
        rows = clusters({"plum": 30, "apple": 5})
        rows.values[4, 1] = np.nan
        found = rows.survey()
        assert by_name(found)["plum"].n == 29
        assert rows.uris[4] not in found.sample.points["uri"].to_pylist()

    def test_names_that_are_odd(self) -> None:
        """An empty name is one; none of them is mixed up with having none."""
        rows = clusters({"": 5, None: 4, "é\u202e\n<b>": 3})
        assert {each.name: each.n for each in rows.survey().labels} == {"": 5, None: 4, "é\u202e\n<b>": 3}


def test_reading_is_asked_for_few_columns() -> None:
    """Labels are counted without reading a vector."""
    rows = clusters({"plum": 30})
    asked: list[Sequence[str]] = []

    def reading(read: Callable[[Sequence[str]], Iterator[pa.RecordBatch]]) -> Read:
        def counted(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
            asked.append(columns)
            return read(columns)

        return counted

    survey(reading(rows.read), 3)
    assert ["components" in columns for columns in asked] == [False, True, True]
