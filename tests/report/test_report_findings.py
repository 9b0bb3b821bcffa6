"""All that a report says, from real lakes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from batch import models
from batch.own_labels import OwnLabels
from batch.refit import refit
from batch.report import pictures, report
from batch.report.report import findings, spectrum
from batch.rows.parts import PartGone
from batch.view import view
from conf.errors import LakeError, StorageError
from conf.saying import Say
from conf.schemas import COMPONENTS, MODELS
from conf.settings import Settings
from conf.tables import ensure
from tests.unit.lakes import ONE, Orchard, seconds

WIDTH = 6
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def uri(name: object) -> str:
    """Give the uri of a picture."""
    return f"file:///landing/{name}.jpg"


def refitted(orchard: Orchard, components: int = 3, **settings: Any) -> None:
    """Refit."""
    for table in (MODELS, COMPONENTS):
        ensure(table, orchard.paths.table(table))
    assert refit(orchard.paths, ONE, Settings(components=components, **settings)).model is not None


def grown(orchard: Orchard, labels: Sequence[str | None], first: int = 0, spread: float = 1) -> None:
    """Give pictures features near the others of their label."""
    random = np.random.default_rng(first)
    rows = []
    for number, label in enumerate(labels, first):
        centre = np.random.default_rng(len(label or "") + 100).normal(0, 8, WIDTH)
        vector = (centre + spread * random.normal(0, 1, WIDTH)).astype(np.float32).tolist()
        rows.append({"uri": uri(number), "label": label, "features": vector, "sha256": f"{number:064}"})
    orchard.outcome(*rows)


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Return an empty lake."""
    return Orchard(tmp_path / "lake")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Orchard:
    """Return a lake with one of everything: a stray, copies, a near duplicate, rejections, what came later."""
    orchard = Orchard(tmp_path_factory.mktemp("full") / "lake")
    grown(orchard, ["fig", "plum", "quince"] * 20)
    random = np.random.default_rng(9)
    fig = np.random.default_rng(103).normal(0, 8, WIDTH)
    near = (fig + random.normal(0, 1, WIDTH)).astype(np.float32)
    orchard.outcome(
        {"uri": uri("stray"), "label": "quince", "features": near.tolist(), "sha256": "s"},
        {"uri": uri("copy"), "label": "plum", "features": near.tolist(), "sha256": "s"},
        {"uri": uri("alike"), "label": "fig", "features": (near + np.float32(0.01)).tolist(), "sha256": "t"},
        {"uri": uri("bad"), "rejection": "corrupt", "detail": "no end"},
    )
    refitted(orchard)
    grown(orchard, ["fig", None], first=200)
    return orchard


def uris_of(orchard: Orchard) -> list[str]:
    """Give the pictures of the view."""
    return [each for batch in view(orchard.paths, ONE).batches(("uri",)) for each in batch["uri"].to_pylist()]


class Reader:
    """Gives thumbnails, of one level for each picture but those that look alike, and keeps what it was asked for."""

    def __init__(self, *unreadable: str) -> None:
        self.asked: list[list[str]] = []
        self._unreadable = {uri(name) for name in unreadable}

    def __call__(self, versions: pa.Table, say: Say) -> Mapping[str, NDArray[np.uint8]]:
        """Give what can be read, of the versions that the view has."""
        assert set(versions["e_tag"].to_pylist()) == {"1-1"}
        uris = versions["uri"].to_pylist()
        self.asked.append(uris)
        say("reading thumbnails", len(uris), len(uris))
        alike = {uri("copy"): 100, uri("stray"): 100, uri("alike"): 102}
        return {
            each: np.full((32, 32, 3), alike.get(each, hash(each) % 64), np.uint8)
            for each in uris
            if each not in self._unreadable
        }


class TestFull:
    """A lake with one of everything."""

    def test_what_it_is_of(self, full: Orchard) -> None:
        """Lake, model, counts."""
        found = findings(full.paths, ONE, now=lambda: NOON)
        model = view(full.paths, ONE).model
        assert (found.lake, found.featurizer, found.made_at) == (str(full.root), ONE, NOON)
        assert (found.model, found.k, found.width, found.run_card) == (model.id, 3, WIDTH, model.run_card)
        assert (found.n, found.provisional, found.labels_beyond) == (65, 2, 0)
        assert [(each.name, each.n) for each in found.labels] == [(None, 1), ("fig", 22), ("plum", 21), ("quince", 21)]
        assert [(each.reason, each.examples) for each in found.rejected] == [("corrupt", ((uri("bad"), "no end"),))]
        assert [each.published for each in found.refits] == [True]
        assert sum(each.outcomes for each in found.intervals) == 66
        assert 0 <= found.freshness[0] <= found.freshness[1]
        assert found.sample.points["source"].to_pylist().count("provisional") == 2
        assert (found.labelled_by, dict(found.links), dict(found.thumbnails)) == ("", {}, {})

    def test_what_is_odd_in_it(self, full: Orchard) -> None:
        """A picture under a wrong label, the same bytes twice, and bytes that only look the same."""
        found = findings(full.paths, ONE, thumbnails=Reader())
        assert {(each.uri, each.label, each.nearest) for each in found.strays} == {
            (uri("stray"), "quince", "fig"),
            (uri("copy"), "plum", "fig"),
        }
        assert [each.uris for each in found.duplicates.copies] == [(uri("copy"), uri("stray"))]
        assert (found.duplicates.groups, found.duplicates.surplus, found.duplicates.searched) == (1, 1, 64)
        (alike,) = [each for each in found.duplicates.alike if uri("alike") in each.uris]
        assert (alike.uris, alike.labels, alike.difference) == ((uri("alike"), uri("stray")), ("fig", "quince"), 2)

    def test_thumbnails(self, full: Orchard) -> None:
        """Each picture is asked for once, also where it cannot be read."""
        reader = Reader("3", "alike")
        found = findings(full.paths, ONE, thumbnails=reader)
        asked = [each for some in reader.asked for each in some]
        assert len(asked) == len(set(asked)) == 65
        assert found.thumbnails.keys() == set(asked) - {uri(3), uri("alike")}

    def test_no_more_thumbnails_than_are_shown(self, full: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those of the odd ones first."""
        monkeypatch.setattr(pictures, "COMPARED", 8)
        monkeypatch.setattr(pictures, "shown", partial(pictures.shown, most=12))
        reader = Reader()
        found = findings(full.paths, ONE, thumbnails=reader)
        assert len(reader.asked[0]) <= 8
        assert len(found.thumbnails) == 12
        assert {uri("stray"), uri("copy")} <= found.thumbnails.keys()

    def test_links(self, full: Orchard) -> None:
        """Of everything that is drawn or named, rejections included."""
        found = findings(full.paths, ONE, links=lambda uris: {each: each.upper() for each in uris})
        assert len(found.links) == 66
        assert found.links[uri("bad")] == uri("bad").upper()

    def test_labels_of_ones_own(self, full: Orchard) -> None:
        """They say which labels there are, and where they come from."""
        odd = [each for each in uris_of(full) if each[-5] in "13579"]
        own = OwnLabels("labels.csv", pa.array(odd), pa.array(["odd"] * len(odd)))
        found = findings(full.paths, ONE, labels=own)
        assert found.labelled_by == "labels.csv"
        assert [each.name for each in found.labels] == [None, "odd"]
        assert found.strays == ()

    def test_it_tells_how_far_it_is(self, full: Orchard) -> None:
        """From the first moment on, and never beyond the end of a step."""
        said: list[tuple[str, float, float]] = []
        findings(full.paths, ONE, say=lambda text, done=0, total=0: said.append((text, done, total)))
        assert said[0] == ("reading the feature space", 0, 0)
        assert all(done <= total for _, done, total in said if total)
        assert len({text for text, _, _ in said}) > 5


class TestSpectrum:
    """What every component explains."""

    def test_of_all_components(self, full: Orchard) -> None:
        """Where the model's moments tell; its own are the first of them."""
        model = models.load(full.paths, view(full.paths, ONE).model.id, moments=True)
        variances, shares = spectrum(model)
        assert len(variances) == WIDTH
        np.testing.assert_allclose(variances[:3], model.explained_variance)
        np.testing.assert_allclose(shares[:3], model.explained_variance_ratio)
        assert shares.sum() == pytest.approx(1)
        assert (np.diff(variances) < 0).all()

    def test_in_the_order_of_the_model(self, full: Orchard) -> None:
        """Which a refit takes over from the model before, whatever its components explain now."""
        model = models.load(full.paths, view(full.paths, ONE).model.id, moments=True)
        variances, shares = spectrum(model)
        order = [1, 0, 2]
        turned = replace(
            model,
            explained_variance=model.explained_variance[order],
            explained_variance_ratio=model.explained_variance_ratio[order],
        )
        places = [*order, *range(3, WIDTH)]
        for found, wanted in zip(spectrum(turned), (variances[places], shares[places]), strict=True):
            np.testing.assert_allclose(found, wanted)

    def test_of_the_components_only(self, orchard: Orchard) -> None:
        """Where a solver needed no moments."""
        grown(orchard, ["fig", "plum"] * 10)
        refitted(orchard, components=2, solver="randomized")
        found = findings(orchard.paths, ONE)
        np.testing.assert_allclose(found.variances, view(orchard.paths, ONE).model.explained_variance)
        assert len(found.shares) == 2


class TestLittle:
    """Lakes of which there is little to tell."""

    def test_before_the_first_refit(self, orchard: Orchard) -> None:
        """There is no feature space yet, and the message says what to do."""
        orchard.featurize("a", "b")
        with pytest.raises(LakeError, match="verger refit"):
            findings(orchard.paths, ONE)

    @pytest.mark.parametrize("components", [1, 3])
    @pytest.mark.parametrize(
        "labels",
        [[None] * 9, ["fig"] * 9, ["fig", "plum"], ["fig", None], [f"label {row}" for row in range(9)], ["é\n<b>"] * 2],
        ids=["no label", "one label", "two pictures", "one without", "a picture a label", "an odd label"],
    )
    def test_few_labels_or_pictures(self, orchard: Orchard, labels: list[str | None], components: int) -> None:
        """Everything is told that there is."""
        grown(orchard, labels)
        refitted(orchard, components=components)
        found = findings(orchard.paths, ONE, thumbnails=Reader())
        assert {each.name: each.n for each in found.labels} == {name: labels.count(name) for name in labels}
        assert found.sample.points.num_rows == len(labels) == len(found.thumbnails)
        assert found.strays == ()

    def test_pictures_that_are_all_the_same(self, orchard: Orchard) -> None:
        """But one, as there would be no axis else: the same bytes are copies, and no near duplicates."""
        orchard.outcome(
            *({"uri": uri(row), "label": "ab"[row % 2], "features": [1, 2], "sha256": "x"} for row in range(30)),
            {"uri": uri("other"), "label": "a", "features": [5, 1], "sha256": "y"},
        )
        refitted(orchard, components=2)
        found = findings(orchard.paths, ONE)
        assert (found.duplicates.groups, found.duplicates.surplus, found.duplicates.pairs) == (1, 29, 0)
        assert found.duplicates.copies[0].more == 6

    def test_labels_that_came_after_the_refit_only(self, orchard: Orchard) -> None:
        """They are labels like the others."""
        grown(orchard, ["fig"] * 20)
        refitted(orchard)
        grown(orchard, ["quince"] * 6, first=100)
        found = findings(orchard.paths, ONE)
        assert {each.name: (each.n, each.nearest) for each in found.labels} == {
            "fig": (20, "quince"),
            "quince": (6, "fig"),
        }
        assert found.provisional == 6

    def test_a_picture_that_was_rejected_since(self, orchard: Orchard) -> None:
        """It is told among the rejections only."""
        grown(orchard, ["fig"] * 20)
        refitted(orchard)
        orchard.outcome({"uri": uri(3), "landed_at": seconds(9), "rejection": "gone"})
        found = findings(orchard.paths, ONE)
        assert found.n == 19
        assert [each.examples for each in found.rejected] == [((uri(3), ""),)]

    def test_no_picture_is_left(self, orchard: Orchard) -> None:
        """Each was rejected since the refit: there is nothing to draw, and all else is told."""
        grown(orchard, ["fig", "plum"] * 4)
        refitted(orchard)
        orchard.outcome(*({"uri": uri(row), "landed_at": seconds(9), "rejection": "gone"} for row in range(8)))
        found = findings(orchard.paths, ONE, thumbnails=Reader())
        assert (found.n, found.labels, found.strays, found.sample.points.num_rows) == (0, (), (), 0)
        assert found.rejected[0].count == 8
        assert len(found.refits) == 1

    def test_uris_that_are_odd(self, orchard: Orchard) -> None:
        """They come through as they are."""
        odd = ["s3://b/a%20b%0A.jpg", 'file:///"<b>&.jpg', "file:///é\u202e.jpg", "x"]
        random = np.random.default_rng(0)
        rows = random.normal(0, 1, (4, 3)).astype(np.float32).tolist()
        orchard.outcome(*({"uri": each, "features": row} for each, row in zip(odd, rows, strict=True)))
        refitted(orchard, components=2)
        assert sorted(findings(orchard.paths, ONE).sample.points["uri"].to_pylist()) == sorted(odd)


class TestFilesThatVanish:
    """Upkeep may delete what a newer version no longer names."""

    def test_it_begins_again(self, full: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """From what the lake says then."""
        asked = []

        def once_gone(*given: Any) -> Any:
            asked.append(given)
            if len(asked) == 1:
                raise PartGone("gone")
            return view(*given)

        monkeypatch.setattr(report, "view", once_gone)
        assert findings(full.paths, ONE).n == 65

    def test_it_ends_at_some_time(self, full: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """With one line."""

        def gone(*_: Any) -> None:
            raise PartGone("gone")

        monkeypatch.setattr(report, "view", gone)
        with pytest.raises(StorageError, match="report again later"):
            findings(full.paths, ONE)
