from pathlib import Path
from typing import Any

import pytest

from conf.errors import StorageError, UsageError
from conf.featurizers import featurized
from conf.schemas import ARRIVALS, FEATURES
from streaming.checkpoints import set_aside
from streaming.commands import requests
from streaming.commands.dropping import drop
from streaming.commands.requests import Answer
from tests.places import local
from tests.unit.lakes import ONE, OTHER, Orchard

COMPILED = (f"{ONE}.tflite", f"{ONE}.json", f"{ONE}.keras")


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Make a lake with two featurizers, each with rows, a checkpoint, one set aside, and a compiled backbone."""
    orchard = Orchard(tmp_path / "lake")
    orchard.featurize("a", "b")
    orchard.outcome({"uri": "a"}, {"uri": "b", "rejection": "gone"}, featurizer=OTHER)
    orchard.paths.backbones.mkdir()
    for featurizer in (ONE, OTHER):
        orchard.checkpoint(featurizer)
        set_aside(orchard.paths, featurizer, "a test")
        orchard.checkpoint(featurizer)
    for name in (*COMPILED, f"{OTHER}.tflite", f"{OTHER}.json"):
        local(orchard.paths.backbones / name).write_text("")
    return orchard


def execute(orchard: Orchard, featurizer: str = ONE, streamed: tuple[str, ...] = ()) -> Answer:
    """Execute a request for a featurizer to go."""
    return drop(requests.drop(featurizer), orchard.paths, streamed)


def traces(orchard: Orchard, featurizer: str) -> list[str]:
    """Give what there is of a featurizer outside the tables."""
    paths = orchard.paths
    places = (paths.checkpoints, paths.quarantine, paths.backbones)
    return sorted(path.name for place in places for path in place.iterdir() if path.name.startswith(featurizer))


def test_everything_of_a_featurizer_goes(orchard: Orchard) -> None:
    """Rows, checkpoints and backbone; arrivals and the other featurizer stay."""
    expected = [row for row in orchard.rows(FEATURES) if row["featurizer"] == OTHER]
    left = traces(orchard, OTHER)
    answer = execute(orchard)
    assert answer == Answer(
        f"{ONE} dropped, with 2 outcomes; VACUUM deletes their files later", {"featurizer": ONE, "outcomes": 2}
    )
    assert orchard.rows(FEATURES) == expected
    assert orchard.uris(ARRIVALS) == ["a", "b"]
    assert traces(orchard, ONE) == []
    assert traces(orchard, OTHER) == left
    assert len(left) == 4
    assert featurized(orchard.paths) == [OTHER]


def test_the_beginning_of_an_id_is_enough(orchard: Orchard) -> None:
    """Where it fits one alone, and of anything that the lake holds of it."""
    assert execute(orchard, "mobile").facts == {"featurizer": OTHER, "outcomes": 2}
    local(orchard.paths.backbones / "vgg16-1.json").write_text("")
    orchard.checkpoint("resnet50-1")
    assert execute(orchard, "vgg").facts == {"featurizer": "vgg16-1", "outcomes": 0}
    assert execute(orchard, "resnet").facts == {"featurizer": "resnet50-1", "outcomes": 0}
    assert traces(orchard, "vgg") == traces(orchard, "resnet") == []


@pytest.mark.parametrize("wish", ["vgg", "%", "'", "*"])
def test_an_unknown_featurizer_is_refused(wish: str, orchard: Orchard) -> None:
    """With those that are there; nothing goes."""
    with pytest.raises(UsageError, match=rf"no featurizer begins so; the lake has {ONE}, {OTHER}"):
        execute(orchard, wish)
    assert len(orchard.rows(FEATURES)) == 4


def test_one_of_several_is_not_chosen_by_chance(orchard: Orchard) -> None:
    """A beginning that fits several is refused; a whole id is meant, also where another begins with it."""
    for name in ("mobile-1", "mobile-1-2"):
        local(orchard.paths.backbones / f"{name}.json").write_text("")
        orchard.checkpoint(f"{name}-20260301T0800")
    with pytest.raises(UsageError, match="more than one featurizer begins so"):
        execute(orchard, "mobile-1-")
    execute(orchard, "mobile-1")
    assert "mobile-1-2.json" in traces(orchard, "mobile")
    assert "mobile-1.json" not in traces(orchard, "mobile")


def test_a_featurizer_that_is_being_streamed_stays(orchard: Orchard) -> None:
    """Its query would write on; the message says what to do first."""
    with pytest.raises(UsageError, match=f"{ONE} is being streamed: stop the stream"):
        execute(orchard, streamed=(OTHER, ONE))
    assert len(orchard.rows(FEATURES)) == 4


@pytest.mark.parametrize("step", ["streaming.commands.dropping.delete_rows", "shutil.rmtree", "pathlib.Path.unlink"])
def test_an_interrupted_drop_is_completed(step: str, orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be named as long as anything of it is left, its manifest last."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise StorageError("full") if step.startswith("streaming") else OSError(28, "full")

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(StorageError, match="full"):
            execute(orchard)
    assert execute(orchard).facts["featurizer"] == ONE
    assert traces(orchard, ONE) == []
    assert featurized(orchard.paths) == [OTHER]


def test_a_featurizer_that_was_dropped_is_unknown(orchard: Orchard) -> None:
    """Dropping twice says so and changes nothing."""
    execute(orchard)
    version = orchard.version(FEATURES)
    with pytest.raises(UsageError, match="no featurizer begins so"):
        execute(orchard)
    assert orchard.version(FEATURES) == version
