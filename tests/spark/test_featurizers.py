"""Several featurizers in one lake: each complete for itself, whichever come, go and fall behind."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verger
from bootstrap import orchard
from conf.lake import LakePaths
from conf.schemas import ARRIVALS
from conf.settings import Settings
from conf.uris import uri_of
from streaming.arrivals import Arrivals
from streaming.backbones.backbone import Fit
from streaming.backbones.runtime import Runtime
from streaming.backbones.shelf import Compiled, save
from streaming.commands import errands, requests
from streaming.commands.selection import select
from streaming.decode import decode
from streaming.discovery.folders import FolderListing
from streaming.landing import NameRule
from tests.conftest import TINY
from tests.spark.attended import attended
from tests.spark.conftest import Run, Sessions
from tests.spark.ledger import arrivals, assert_complete, outcomes

STRETCH, CROP, PAD = TINY, f"{TINY},fit=crop", f"{TINY},fit=pad"


def fitted(compiled: Compiled, fit: Fit) -> Compiled:
    """Declare a backbone with another fit: the network is the same, so nothing is compiled."""
    backbone = compiled.backbone
    fitting = replace(backbone, preparation=replace(backbone.preparation, fit=fit))
    return replace(compiled, manifest=replace(compiled.manifest, backbone=fitting))


@pytest.fixture
def ids(lake: LakePaths, embedded: Compiled) -> dict[str, str]:
    """Put three backbones into the lake; return the ids of their featurizers."""
    compiled = {STRETCH: embedded, CROP: fitted(embedded, "crop"), PAD: fitted(embedded, "pad")}
    for each in compiled.values():
        save(each, lake.backbones)
    return {spec: each.backbone.featurizer for spec, each in compiled.items()}


def caught_up(lake: LakePaths, *featurizers: str) -> Callable[[], bool]:
    """Give the question whether each of these featurizers, and no other, has an outcome for each arrival."""

    def asked() -> bool:
        found = {each["featurizer"]: each["backlog"] for each in verger.open(str(lake.root)).status()["featurizers"]}
        return found == dict.fromkeys(featurizers, 0)

    return asked


def live(landing: Path, lake: LakePaths, *backbones: str, **changed: Any) -> Settings:
    """Give the settings of a run that goes on."""
    given = {"landing": str(landing), "lake": str(lake.root), "settle": 0.0, "poll": 0.2, "trigger": 0.2, **changed}
    return Settings(backbone=backbones, **given)


def test_two_from_the_start_are_both_complete_with_vectors_of_their_own(
    run: Run, landing: Path, lake: LakePaths, ids: dict[str, str], embedded: Compiled, embedded_model: Path
) -> None:
    """A picture that is not square looks different to each; both equal a single-process reference."""
    wide = landing / "Wide" / "ribbon.jpg"
    wide.parent.mkdir()
    orchard.draw("Kiwi", 5).resize((150, 60)).save(wide)
    totals = run(backbone=(STRETCH, CROP))
    assert (totals.featurized, totals.backlog) == (50, 0)
    vectors = []
    for spec, backbone in ((STRETCH, embedded.backbone), (CROP, fitted(embedded, "crop").backbone)):
        assert_complete(lake, landing, ids[spec])
        rows = verger.open(str(lake.root)).features(ids[spec]).to_pylist()
        (found,) = [row["features"] for row in rows if row["uri"] == uri_of(wide)]
        pixels = decode(wide.read_bytes(), backbone.preparation, 80_000_000).pixels
        expected = Runtime(embedded_model, backbone, embedded.manifest.width)(pixels)
        assert np.linalg.norm(np.array(found) - expected) <= 1e-4 * np.linalg.norm(expected)
        vectors.append(expected)
    assert np.linalg.norm(vectors[0] - vectors[1]) > 0.05 * np.linalg.norm(vectors[0])


@pytest.mark.long
def test_a_third_added_later_backfills_while_the_others_go_on(
    run: Run, landing: Path, lake: LakePaths, ids: dict[str, str], sessions: Sessions
) -> None:
    """New pictures do not wait behind its backlog; a takedown counts for all three; none loses or doubles anything."""
    found = FolderListing(landing, NameRule(frozenset()), settle=0).poll()
    assert sum(Arrivals(lake.table(ARRIVALS)).append(found, route="listing", rows_per_file=4)) == 24
    assert run(backbone=(STRETCH, CROP)).featurized == 48
    gone, *_ = sorted(landing.rglob("*.jpg"))
    with attended(live(landing, lake, STRETCH, CROP, PAD, batch_pictures=4), sessions) as running:
        running.until(lambda: len(outcomes(lake, ids[PAD])) > 0)
        (new,) = running.land("New")
        running.until(lambda: all(_has(lake, ids[spec], new) for spec in (STRETCH, CROP)))
        assert len(outcomes(lake, ids[PAD])) < 24
        running.until(caught_up(lake, *ids.values()))
        running.until(lambda: _said(lake) == dict.fromkeys(ids.values(), ("running", 0)))

        assert running.ask(requests.forget(select([str(gone)]))).facts["features"] == 3
        running.land("New")
        running.until(lambda: len(arrivals(lake)) == 25 and caught_up(lake, *ids.values())())
    gone.unlink()
    for featurizer in ids.values():
        assert_complete(lake, landing, featurizer)
    assert _said(lake) == dict.fromkeys(ids.values(), ("stopped", 0))


@pytest.mark.long
def test_dropping_one_takes_all_of_it_and_nothing_of_the_others(
    run: Run, landing: Path, lake: LakePaths, ids: dict[str, str], sessions: Sessions
) -> None:
    """With a driver, unless that streams it, and without; the others go on."""
    run(backbone=(STRETCH, CROP, PAD))
    settings = live(landing, lake, STRETCH, CROP)
    with attended(settings, sessions) as running:
        refused = running.ask(requests.drop(ids[CROP]))
        assert (refused.exit_code, "is being streamed" in refused.sentence) == (2, True)
        dropped = running.ask(requests.drop(ids[PAD]))
        assert (dropped.exit_code, dropped.facts) == (0, {"featurizer": ids[PAD], "outcomes": 24})
        running.land("New")
        running.until(lambda: len(arrivals(lake)) == 25 and caught_up(lake, ids[STRETCH], ids[CROP])())
    for spec in (STRETCH, CROP):
        assert_complete(lake, landing, ids[spec])
    ambiguous = errands.have_done(lake, requests.drop("efficientnet"), settings)
    assert (ambiguous.exit_code, "more than one featurizer" in ambiguous.sentence) == (2, True)
    assert errands.have_done(lake, requests.drop(ids[CROP][:-1]), settings).facts["outcomes"] == 25
    assert caught_up(lake, ids[STRETCH])()
    assert not [path for path in lake.root.glob("*/*") if path.name.startswith((ids[CROP], ids[PAD]))]


def _has(lake: LakePaths, featurizer: str, picture: Path) -> bool:
    return uri_of(picture) in {key[0] for key in outcomes(lake, featurizer)}


def _said(lake: LakePaths) -> dict[str, tuple[str, int]]:
    """Give what `verger status` shows of the driver's last words: each featurizer's state and backlog."""
    said = verger.open(str(lake.root)).status()["last_report"]["featurizers"]
    return {featurizer: (each["state"], each["backlog"]) for featurizer, each in said.items()}
