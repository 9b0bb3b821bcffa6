from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batch import similar as module
from batch.refit import refit
from batch.rows import parts
from batch.rows.parts import PartGone
from batch.similar import SCHEMA, similar
from batch.view import view
from conf.errors import LakeError, StorageError, UsageError
from conf.schemas import COMPONENTS, FEATURES, MODELS
from conf.settings import Settings
from conf.tables import ensure
from tests.unit.lakes import ONE, OTHER, Orchard, seconds

Point = np.ndarray[Any, np.dtype[np.float64]]


def uri(name: object) -> str:
    """Give the uri of a picture."""
    return f"file:///landing/{name}.jpg"


def points(orchard: Orchard) -> dict[str, Point]:
    """Place all pictures of the view, one by one."""
    seen = view(orchard.paths, ONE)
    rows = [row for row in orchard.rows(COMPONENTS) if row["uri"] not in seen.superseded.to_pylist()]
    return {row["uri"]: np.array(row["components"]) for row in [*rows, *seen.provisional.to_pylist()]}


def by_distance(places: dict[str, Point], name: str) -> list[tuple[float, str]]:
    """Order all other pictures by their distance from one."""
    own = places[name]
    return sorted((float(np.linalg.norm(place - own)), each) for each, place in places.items() if each != name)


def refitted(orchard: Orchard) -> None:
    """Refit."""
    for table in (MODELS, COMPONENTS):
        ensure(table, orchard.paths.table(table))
    refit(orchard.paths, ONE, Settings(components=2))


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Return a lake of 60 pictures in two files."""
    made = Orchard(tmp_path / "lake")
    vectors = np.random.default_rng(0).normal(3, 1, (60, 5)).astype(np.float32).tolist()
    rows = [{"uri": uri(number), "label": "ab"[number % 2], "features": each} for number, each in enumerate(vectors)]
    made.outcome(*rows[:40])
    made.outcome(*rows[40:])
    return made


class TestByComponents:
    """Distances in the view."""

    @pytest.mark.parametrize("rows_a_batch", [65_536, 7])
    def test_the_nearest_first(self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch, rows_a_batch: int) -> None:
        """Euclidean, over all files and batches, without the picture itself."""
        monkeypatch.setattr(parts, "_MOST_ROWS", rows_a_batch)
        refitted(orchard)
        found = similar(orchard.paths, ONE, uri(50), 9)
        wanted = by_distance(points(orchard), uri(50))[:9]
        assert found.schema == SCHEMA
        assert found["uri"].to_pylist() == [name for _, name in wanted]
        np.testing.assert_allclose(found["distance"].to_numpy(), [distance for distance, _ in wanted], rtol=1e-12)
        assert set(found["source"].to_pylist()) == {"batch"}
        numbers = [int(name.rpartition("/")[2].removesuffix(".jpg")) for name in found["uri"].to_pylist()]
        assert found["label"].to_pylist() == ["ab"[number % 2] for number in numbers]

    def test_what_has_come_since_the_refit(self, orchard: Orchard) -> None:
        """New pictures and new versions count, and the versions before them do not."""
        refitted(orchard)
        orchard.outcome({"uri": uri("new"), "features": [3, 3, 3, 3, 4]})
        orchard.outcome({"uri": uri(3), "landed_at": seconds(1), "features": [9, 9, 9, 9, 9]})
        orchard.outcome({"uri": uri(4), "landed_at": seconds(1), "rejection": "corrupt"})
        for name in ("new", 3, 50):
            found = similar(orchard.paths, ONE, uri(name), 99)
            assert found["uri"].to_pylist() == [other for _, other in by_distance(points(orchard), uri(name))]
        sources = dict(zip(found["uri"].to_pylist(), found["source"].to_pylist(), strict=True))
        assert {name for name, source in sources.items() if source == "provisional"} == {uri("new"), uri(3)}
        assert uri(4) not in sources

    def test_pictures_at_the_same_distance(self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same vector may be there many times: they come by uri, wherever they lie."""
        monkeypatch.setattr(parts, "_MOST_ROWS", 3)
        names = [uri(f"twin-{number:02}") for number in np.random.default_rng(1).permutation(30)]
        orchard.outcome(*({"uri": name, "features": [1, 2, 3, 4, 5]} for name in names))
        refitted(orchard)
        orchard.outcome({"uri": uri("twin-05a"), "features": [1, 2, 3, 4, 5]})
        found = similar(orchard.paths, ONE, uri("twin-03"), 7)
        wanted = [uri(f"twin-{each}") for each in ("00", "01", "02", "04", "05", "05a", "06")]
        assert found["uri"].to_pylist() == wanted
        assert found["distance"].to_pylist() == [0] * 7

    def test_a_plain_path_means_the_same_picture(self, orchard: Orchard) -> None:
        """As in every other command."""
        refitted(orchard)
        assert similar(orchard.paths, ONE, "/landing/7.jpg").equals(similar(orchard.paths, ONE, uri(7)))

    def test_before_the_first_refit(self, orchard: Orchard) -> None:
        """There is nothing to look in, and the message says what makes it."""
        with pytest.raises(LakeError, match="verger refit"):
            similar(orchard.paths, ONE, uri(1))


class TestByFeatures:
    """Cosine distances of raw features; no refit is needed."""

    def test_the_nearest_first(self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """One minus the cosine, of the newest features of each picture of this featurizer."""
        monkeypatch.setattr(parts, "_MOST_ROWS", 7)
        orchard.outcome({"uri": uri(3), "landed_at": seconds(1), "features": [9, -9, 9, 9, 9]})
        orchard.outcome({"uri": uri(4), "landed_at": seconds(1), "rejection": "corrupt"})
        orchard.outcome({"uri": uri("other"), "features": [3, 3, 3, 3, 3]}, featurizer=OTHER)
        rows = {row["uri"]: row for row in sorted(orchard.rows(FEATURES), key=lambda row: row["landed_at"])}
        vectors = {
            name: np.array(row["features"]) / np.linalg.norm(row["features"])
            for name, row in rows.items()
            if row["features"] is not None and row["featurizer"] == ONE
        }
        found = similar(orchard.paths, ONE, uri(50), 99, "features")
        wanted = sorted((1 - vectors[uri(50)] @ each, name) for name, each in vectors.items() if name != uri(50))
        assert found["uri"].to_pylist() == [name for _, name in wanted]
        np.testing.assert_allclose(found["distance"].to_numpy(), [each for each, _ in wanted], atol=1e-12)
        assert found.schema == SCHEMA
        assert found["source"].null_count == found.num_rows

    def test_the_length_of_features_does_not_matter(self, orchard: Orchard) -> None:
        """Only their direction does."""
        orchard.outcome({"uri": uri("one"), "features": [1, 2, 3, 4, -9]})
        orchard.outcome({"uri": uri("two"), "features": [2, 4, 6, 8, -18]})
        (first,) = similar(orchard.paths, ONE, uri("one"), 1, "features").to_pylist()
        assert (first["uri"], first["distance"]) == (uri("two"), pytest.approx(0, abs=1e-15))

    def test_blank_pictures_are_not_similar_to_any(self, orchard: Orchard) -> None:
        """Their features are next to nothing, in a direction that means nothing."""
        orchard.outcome(*({"uri": uri(f"blank-{scale}"), "features": [scale] * 5} for scale in (0.0, 0.001)))
        orchard.outcome({"uri": uri("pale"), "features": [0.1] * 5})
        found = similar(orchard.paths, ONE, uri(1), 99, "features")["uri"].to_pylist()
        assert len(found) == 60
        assert uri("pale") in found

    @pytest.mark.parametrize(("scale", "length"), [(0.0, "0"), (0.001, "0.0022")])
    def test_a_blank_picture_is_refused(self, orchard: Orchard, scale: float, length: str) -> None:
        """Its neighbours would be noise, and the message says so."""
        orchard.outcome({"uri": uri("blank"), "features": [scale] * 5})
        with pytest.raises(UsageError, match=rf"blank.jpg is blank: .* length {length} and others \d.*by components"):
            similar(orchard.paths, ONE, uri("blank"), 3, "features")

    def test_the_only_picture(self, tmp_path: Path) -> None:
        """It is similar to nothing."""
        orchard = Orchard(tmp_path / "small")
        orchard.outcome({"uri": uri(1)})
        assert similar(orchard.paths, ONE, uri(1), 3, "features").num_rows == 0


class TestPicturesThatAreNotThere:
    """One line says why, as far as the lake tells, and what to do."""

    @pytest.mark.parametrize("by", ["components", "features"])
    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("never", "is no picture of .*lake: give one"),
            ("landed", f"has landed, and has no outcome by {ONE} yet: `verger stream`"),
            ("corrupt", r"rejected as corrupt \(bad bytes\): land a sound version"),
            ("gone", r"rejected as gone \(no detail\): `verger rejects retry`"),
            ("endless", "features that are not finite.*: give another picture"),
            ("forgotten", "was forgotten: `verger forget --recall`"),
        ],
    )
    def test_why(self, orchard: Orchard, by: module.By, name: str, why: str) -> None:
        """What has become of it."""
        refitted(orchard)
        orchard.arrive(uri("landed"))
        orchard.outcome({"uri": uri("corrupt"), "rejection": "corrupt", "detail": "bad\nbytes"})
        orchard.outcome({"uri": uri("gone"), "rejection": "gone"})
        orchard.outcome({"uri": uri("endless"), "features": [1, 2, 3, 4, float("inf")]})
        with pytest.raises(UsageError, match=why) as raised:
            similar(orchard.paths, ONE, uri(name), 3, by, lambda each: each == uri("forgotten"))
        assert "\n" not in str(raised.value)

    def test_a_picture_that_was_rejected_since_the_refit(self, orchard: Orchard) -> None:
        """Its published place no longer counts."""
        refitted(orchard)
        orchard.outcome({"uri": uri(4), "landed_at": seconds(1), "rejection": "corrupt"})
        with pytest.raises(UsageError, match="rejected as corrupt"):
            similar(orchard.paths, ONE, uri(4))

    @pytest.mark.parametrize(("asked", "why"), [({"count": 0}, "-k 0: "), ({"by": "size"}, "--by size: .*features")])
    def test_what_cannot_be_asked(self, orchard: Orchard, asked: dict[str, Any], why: str) -> None:
        """It names the option."""
        with pytest.raises(UsageError, match=why):
            similar(orchard.paths, ONE, uri(1), **asked)


class TestFilesThatVanish:
    """Upkeep may delete what a newer version no longer names."""

    def test_it_begins_again(self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """From what the lake says then."""
        spaces, asked = dict(module._SPACES), []

        def once_gone(*given: Any) -> Any:
            asked.append(given)
            if len(asked) == 1:
                raise PartGone("gone")
            return spaces["features"](*given)

        monkeypatch.setitem(module._SPACES, "features", once_gone)
        assert similar(orchard.paths, ONE, uri(1), 3, "features").num_rows == 3

    def test_it_ends_at_some_time(self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """With one line."""

        def gone(*given: Any) -> pa.Table:
            raise PartGone("gone")

        monkeypatch.setitem(module._SPACES, "features", gone)
        with pytest.raises(StorageError, match="ask again later"):
            similar(orchard.paths, ONE, uri(1), 3, "features")
