import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import verger
from conf import lease
from conf.schemas import ARRIVALS, FEATURES
from conf.settings import Settings
from conf.uris import uri_of
from streaming.arrivals import Arrivals
from streaming.commands import requests, takedown
from streaming.commands.selection import Selection
from tests.places import local
from tests.unit.fields import Field
from tests.unit.lakes import MORNING, ONE, OTHER, Orchard, seconds


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Make an empty lake."""
    return Orchard(tmp_path / "lake")


@pytest.fixture
def lake(orchard: Orchard) -> verger.Lake:
    """Open it."""
    return verger.open(str(orchard.paths.root))


def by_uri(table: pa.Table, column: str) -> dict[str, Any]:
    """Give one column by URI; a URI that stands there twice is an error."""
    assert len(set(table["uri"].to_pylist())) == table.num_rows
    return dict(zip(table["uri"].to_pylist(), table[column].to_pylist(), strict=True))


def test_a_folder_without_a_lake_does_not_open(tmp_path: Path) -> None:
    """Opening reads and never creates."""
    with pytest.raises(verger.LakeError, match="no lake at"):
        verger.open(str(tmp_path / "absent"))
    assert list(tmp_path.iterdir()) == []


def test_a_lake_without_features_says_who_writes_them(lake: verger.Lake) -> None:
    """Before the first outcome every reader of features tells the command that makes them."""
    for read in (lake.features, lake.rejections, lake.featurizer):
        with pytest.raises(verger.LakeError, match="holds no features yet: `verger stream` writes them"):
            read()
    assert lake.featurizers() == []


def test_arrivals_are_read_as_they_are(orchard: Orchard, lake: verger.Lake) -> None:
    """Every attempt of every version is a row, with the table's columns."""
    assert lake.arrivals().num_rows == 0
    orchard.arrive("file:///1", "file:///2")
    orchard.arrive("file:///1", attempt=2)
    assert lake.arrivals().num_rows == 3
    assert lake.arrivals().column_names == list(ARRIVALS.columns)


def test_only_the_newest_version_of_a_picture_has_features(orchard: Orchard, lake: verger.Lake) -> None:
    """An overwritten picture stands once, with the vector of its latest version, in whatever order outcomes came."""
    orchard.outcome({"uri": "a", "landed_at": seconds(9), "features": [9.0]}, {"uri": "b", "features": [1.0]})
    orchard.outcome({"uri": "a", "landed_at": seconds(1), "features": [1.0]})
    orchard.outcome({"uri": "b", "attempt": 2, "features": [2.0]})
    assert by_uri(lake.features(), "features") == {"a": [9.0], "b": [2.0]}


@pytest.mark.parametrize(
    "newer",
    [{"landed_at": seconds(1), "e_tag": "0-0"}, {"discovered_at": seconds(1)}, {"e_tag": "2-0"}, {"attempt": 2}],
)
def test_a_newer_rejection_hides_older_features(newer: dict[str, Any], orchard: Orchard, lake: verger.Lake) -> None:
    """A picture whose newest outcome is a rejection has no features, and the reverse after a mend."""
    orchard.outcome({"uri": "a"}, {"uri": "b"})
    orchard.outcome({"uri": "a", "rejection": "truncated", "detail": "why", **newer})
    assert by_uri(lake.features(), "e_tag") == {"b": "1-1"}
    assert by_uri(lake.rejections(), "rejection") == {"a": "truncated"}
    assert by_uri(lake.rejections(), "detail") == {"a": "why"}
    orchard.outcome({"uri": "a", "landed_at": seconds(60)})
    assert set(by_uri(lake.features(), "e_tag")) == {"a", "b"}
    assert lake.rejections().num_rows == 0


def test_the_columns_are_those_asked_for(orchard: Orchard, lake: verger.Lake) -> None:
    """In their order, without those that only choosing the newest needs; by default all of the table's."""
    orchard.outcome({"uri": "a", "label": "Apple"})
    assert lake.features().column_names == list(FEATURES.columns)
    assert lake.features(columns=["label", "uri"]).to_pylist() == [{"label": "Apple", "uri": "a"}]
    assert lake.rejections().column_names == [name for name in FEATURES.columns if name != "features"]


def test_a_column_that_is_not_there_is_refused(orchard: Orchard, lake: verger.Lake) -> None:
    """The message names it and lists what there is."""
    orchard.outcome({"uri": "a"})
    with pytest.raises(verger.UsageError, match=r"features has no column colour; it has uri, e_tag, .*featurized_at"):
        lake.features(columns=["uri", "colour"])


def test_each_read_works_on_one_featurizer(orchard: Orchard, lake: verger.Lake) -> None:
    """Outcomes of another featurizer neither show nor compete; without a wish the one streamed last is meant."""
    orchard.outcome({"uri": "a", "features": [1.0]})
    orchard.outcome({"uri": "a", "landed_at": seconds(5), "rejection": "gone"}, featurizer=OTHER)
    assert lake.featurizers() == [ONE, OTHER]
    assert by_uri(lake.features("efficientnet"), "features") == {"a": [1.0]}
    assert lake.features().num_rows == 0
    assert by_uri(lake.rejections(), "featurizer") == {"a": OTHER}
    orchard.outcome({"uri": "b"})
    assert lake.featurizer() == ONE


def test_a_featurizer_is_named_by_id_or_prefix(orchard: Orchard, lake: verger.Lake) -> None:
    """An id is meant exactly, also where another begins with it; a prefix must fit one alone."""
    for featurizer in ("mobile", "mobile-2", "resnet"):
        orchard.outcome({"uri": "a"}, featurizer=featurizer)
    assert lake.featurizer("mobile") == "mobile"
    assert lake.featurizer("mobile-") == "mobile-2"
    assert lake.featurizer("r") == "resnet"
    for wish, said in (("mob", "more than one"), ("vgg", "no")):
        message = rf"featurizer '{wish}': {said}.*begins so.* mobile, mobile-2, resnet"
        with pytest.raises(verger.UsageError, match=message):
            lake.featurizer(wish)


def test_the_featurizer_streamed_last_is_told_by_its_outcomes(orchard: Orchard, lake: verger.Lake) -> None:
    """And not by its files, which compaction and takedowns write anew."""
    orchard.outcome({"uri": "a", "featurized_at": seconds(9)})
    orchard.outcome({"uri": "a", "featurized_at": seconds(1)}, featurizer=OTHER)
    assert lake.featurizers() == [OTHER, ONE]


def test_rejections_are_listed_by_reason(orchard: Orchard, lake: verger.Lake) -> None:
    """The newest outcome decides: a rejection for the reason that another outcome superseded is not listed."""
    orchard.outcome({"uri": "a", "rejection": "truncated"}, {"uri": "b", "rejection": "gone"}, {"uri": "c"})
    orchard.outcome({"uri": "d", "rejection": "gone"}, {"uri": "e", "rejection": "gone"})
    orchard.outcome({"uri": "d", "attempt": 2}, {"uri": "e", "rejection": "forbidden", "attempt": 2})
    assert by_uri(lake.rejections(reason="gone"), "rejection") == {"b": "gone"}
    assert set(by_uri(lake.rejections(), "rejection")) == {"a", "b", "e"}


def test_a_reason_that_there_is_not_is_refused(orchard: Orchard, lake: verger.Lake) -> None:
    """A slip of the pen is no empty list."""
    orchard.outcome({"uri": "a", "rejection": "gone"})
    with pytest.raises(verger.UsageError, match=r"--reason went: no such reason; there are empty, .*gone"):
        lake.rejections(reason="went")


@pytest.mark.parametrize(
    ("prefix", "kept"),
    [
        ("apple/", ["apple/1.jpg"]),
        ("apple", ["apple/1.jpg", "apples 2/1.jpg"]),
        ("apples 2/", ["apples 2/1.jpg"]),
        ("pear", []),
    ],
)
@pytest.mark.parametrize("as_uri", [True, False])
def test_rejections_are_listed_by_prefix(
    prefix: str, kept: list[str], as_uri: bool, orchard: Orchard, lake: verger.Lake, tmp_path: Path
) -> None:
    """As path or URI; with a slash at the end it is the folder, without one any name that begins so."""
    uris = {uri_of(tmp_path / name): name for name in ("apple/1.jpg", "apples 2/1.jpg", "banana/1.jpg")}
    orchard.outcome(*({"uri": uri, "rejection": "gone"} for uri in uris), {"uri": uri_of(tmp_path / "pear/1.jpg")})
    place = f"{tmp_path}/{prefix}"
    found = lake.rejections(prefix=uri_of(place) if as_uri else place)
    assert sorted(uris[uri] for uri in found["uri"].to_pylist()) == kept


def test_each_read_sees_the_tables_as_they_are(orchard: Orchard, lake: verger.Lake) -> None:
    """An open lake follows the stream; it keeps no snapshot."""
    orchard.outcome({"uri": "a"})
    assert lake.features().num_rows == 1
    orchard.outcome({"uri": "b"})
    assert lake.features().num_rows == 2


def test_the_status_of_an_empty_lake(orchard: Orchard, lake: verger.Lake) -> None:
    """Nothing has arrived, nobody streams, nothing has a size."""
    found = lake.status()
    assert abs(datetime.now(UTC) - datetime.fromisoformat(found.pop("at"))) < timedelta(minutes=1)
    assert found == {
        "lake": str(orchard.paths.root),
        "well": True,
        "unwell": [],
        "stream": None,
        "refit": None,
        "last_report": None,
        "arrivals": 0,
        "featurizers": [],
        "tables": {"arrivals": {"files": 0, "bytes": 0}, "features": {"files": 0, "bytes": 0}},
        "takedowns": {"executed": 0, "physical_after": None},
        "checkpoints_set_aside": 0,
    }


def test_the_status_tells_of_takedowns_and_of_checkpoints_set_aside(orchard: Orchard, lake: verger.Lake) -> None:
    """How many there were, and from when on files that held forgotten pictures may go; recalls do not count."""
    selection = Selection(("file:///anna.jpg",))
    orchard.featurize("file:///anna.jpg")
    orchard.checkpoint(ONE)
    arrivals = Arrivals(orchard.paths.table(ARRIVALS))
    takedown.forget(requests.forget(selection), orchard.paths, arrivals, 3, lambda: MORNING)
    takedown.recall(requests.recall(selection), orchard.paths, lambda: MORNING)
    status = lake.status()
    assert status["takedowns"] == {"executed": 1, "physical_after": "2026-03-04T08:00:00+00:00"}
    assert status["checkpoints_set_aside"] == 1


def test_the_status_counts_outcomes(orchard: Orchard, lake: verger.Lake) -> None:
    """Every version of a picture and every attempt at it; the backlog is arrivals that have none yet."""
    orchard.arrive("a", "b", "c", "d", "e")
    orchard.arrive("a", attempt=2)
    orchard.outcome({"uri": "a", "rejection": "forbidden"}, {"uri": "b"}, {"uri": "c", "rejection": "truncated"})
    orchard.outcome({"uri": "a", "attempt": 2, "featurized_at": seconds(30)})
    orchard.outcome({"uri": "b", "featurized_at": seconds(60)}, featurizer=OTHER)
    status = json.loads(json.dumps(lake.status()))
    assert status["arrivals"] == 6
    first, second = status["featurizers"]
    assert first == {
        "featurizer": ONE,
        "state": None,
        "outcomes": 4,
        "with_features": 2,
        "rejected": 2,
        "rejections": {"forbidden": 1, "truncated": 1},
        "backlog": 2,
        "last_outcome_at": "2026-03-01T08:00:30+00:00",
        "pictures_per_second": None,
        "freshness_p50": None,
        "freshness_p95": None,
        "model": None,
    }
    assert (second["featurizer"], second["backlog"], second["with_features"]) == (OTHER, 5, 1)


def test_the_status_measures_the_tables(orchard: Orchard, lake: verger.Lake) -> None:
    """Files and bytes are those of the tables' current version."""
    orchard.arrive("a")
    orchard.arrive("b")
    stored = list(Path(orchard.paths.table(ARRIVALS)).glob("*.parquet"))
    assert lake.status()["tables"]["arrivals"] == {"files": 2, "bytes": sum(path.stat().st_size for path in stored)}


def test_the_status_tells_who_streams_and_what_was_reported(orchard: Orchard, lake: verger.Lake) -> None:
    """While a driver holds the lease it is named; its last report stays readable afterwards."""
    say(orchard, '{"landed": 5}')
    with lease.hold(orchard.paths.lease("stream")):
        status = lake.status()
        assert status["stream"]["pid"] > 0
    assert status["last_report"] == {"landed": 5}
    assert lake.status()["stream"] is None


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("{", None),
        ("[]", None),
        ('{"featurizers": [], "at": 5}', {"featurizers": [], "at": 5}),
        ('{"featurizers": {"f": 1}, "at": "?"}', {"featurizers": {"f": 1}, "at": "?"}),
    ],
)
def test_a_damaged_report_does_not_stand_in_the_way_of_the_counts(
    orchard: Orchard, lake: verger.Lake, content: str, read: Any
) -> None:
    """It is shown as it is, or not at all where it cannot be read."""
    orchard.featurize("a")
    say(orchard, content)
    found = lake.status()
    assert (found["last_report"], [each["outcomes"] for each in found["featurizers"]]) == (read, [1])


def say(orchard: Orchard, content: str) -> None:
    """Leave a report as a driver does."""
    report = local(orchard.paths.report("stream"))
    report.parent.mkdir(exist_ok=True)
    report.write_text(content)


def reported(at: datetime, **said: Any) -> str:
    """Spell a report of one featurizer."""
    batch = {"batch": 1, "pictures": 40, "rejections": {"gone": 4}, "seconds": 2.0, "freshness_p50": 3.0}
    usual = {
        "state": "running",
        "micro_batches": [{"at": at.isoformat(), **batch, "freshness_p95": 5.0}],
        "backlog_history": [[at.isoformat(), 1]],
    }
    return json.dumps({"at": at.isoformat(), "featurizers": {ONE: usual | said}})


def test_the_status_of_a_stream_that_runs(orchard: Orchard, lake: verger.Lake) -> None:
    """What the tables hold and what the driver last said, side by side."""
    orchard.arrive("a", "b")
    orchard.outcome({"uri": "a"})
    say(orchard, reported(datetime.now(UTC)))
    with lease.hold(orchard.paths.lease("stream")):
        found = lake.status()
    (each,) = found["featurizers"]
    assert (each["state"], each["backlog"], each["pictures_per_second"]) == ("running", 1, 20.0)
    assert (each["freshness_p50"], each["freshness_p95"]) == (3.0, 5.0)
    assert (found["well"], found["unwell"]) == (True, [])
    assert lake.status()["featurizers"][0]["state"] is None


def test_a_featurizer_without_outcomes_is_known_from_the_report(orchard: Orchard, lake: verger.Lake) -> None:
    """As long as its backbone is in the lake: a dropped one is gone from the status, too."""
    orchard.arrive("a")
    say(orchard, reported(datetime.now(UTC)))
    assert lake.status()["featurizers"] == []
    orchard.root.joinpath("backbones").mkdir()
    orchard.root.joinpath("backbones", f"{ONE}.json").write_text("{}")
    (found,) = lake.status()["featurizers"]
    assert (found["featurizer"], found["outcomes"], found["backlog"], found["model"]) == (ONE, 0, 1, None)


def test_an_unwell_lake_says_why(orchard: Orchard, lake: verger.Lake) -> None:
    """By the settings: how long a backlog may stand still, and what share of outcomes may be rejections."""
    orchard.featurize("a")
    orchard.arrive("b", "c")
    say(orchard, reported(datetime.now(UTC) - timedelta(minutes=20)))
    found = lake.status()
    assert not found["well"]
    (reason,) = found["unwell"]
    assert reason.startswith(f"{ONE}: 2 outcomes are to come and nobody has streamed for 20 min")
    assert lake.status(Settings(unwell_after=1800.0))["well"]
    assert "rejections" in "".join(lake.status(Settings(unwell_after=1800.0, unwell_rejected=0.05))["unwell"])


def test_a_featurizer_that_is_streamed_no_more_makes_no_lake_unwell(orchard: Orchard, lake: verger.Lake) -> None:
    """It keeps its backlog for good. Judged are those of the last report; without one, the last that was streamed."""
    orchard.featurize("a", featurizer=OTHER)
    orchard.arrive("b")
    orchard.outcome({"uri": "a", "featurized_at": seconds(9)}, {"uri": "b", "featurized_at": seconds(9)})
    assert [(each["featurizer"], each["backlog"]) for each in lake.status()["featurizers"]] == [(OTHER, 1), (ONE, 0)]
    assert lake.status()["well"]
    say(orchard, reported(MORNING))
    assert lake.status()["well"]
    orchard.arrive("c")
    assert len(lake.status()["unwell"]) == 1


def test_a_refitted_lake_gives_components_view_models_and_neighbours(tmp_path: Path) -> None:
    """As tables; the view holds what has come since, the components do not."""
    field = Field(tmp_path / "lake")
    field.grow(*(f"file:///p/{number}.jpg" for number in range(20)))
    first = field.refit(components=2)
    field.grow("file:///p/new.jpg", at=60)
    lake = verger.open(str(field.paths.root))
    assert lake.components().num_rows == 20
    assert lake.view()["source"].value_counts().to_pylist() == [
        {"values": "batch", "counts": 20},
        {"values": "provisional", "counts": 1},
    ]
    assert first.model is not None
    assert lake.models().select(["model", "published"]).to_pylist() == [{"model": first.model.id, "published": True}]
    model = lake.model()
    assert (model.id, lake.model(model.id[:8]).id) == (first.model.id, first.model.id)
    placed = model.projection.components(np.array(field.counting()["file:///p/new.jpg"], np.float32)[None])
    shown = lake.view().filter(pc.equal(lake.view()["uri"], "file:///p/new.jpg"))["components"].to_pylist()
    np.testing.assert_allclose(shown, placed, rtol=1e-6)
    assert (
        lake.similar("/p/new.jpg", k=3)["uri"].to_pylist() == lake.similar("file:///p/new.jpg", k=3)["uri"].to_pylist()
    )
    status = lake.status()["featurizers"][0]["model"]
    assert (status["model"], status["n"], status["k"], status["outcomes_since"]) == (first.model.id, 20, 2, 1)
    made = datetime.fromisoformat(status["created_at"])
    assert abs((datetime.now(UTC) - made).total_seconds() - status["age_seconds"]) < 60
    assert made <= datetime.fromisoformat(status["published_at"]) + timedelta(seconds=1)


def test_before_the_first_refit_the_view_says_so(tmp_path: Path) -> None:
    """With the command that makes one."""
    field = Field(tmp_path / "lake")
    field.grow("a")
    lake = verger.open(str(field.paths.root))
    assert lake.models().num_rows == 0
    for ask in (lake.view, lake.components, lake.model, lambda: lake.similar("/a")):
        with pytest.raises(verger.LakeError, match=r"no components of .* yet: `verger refit --lake .*` makes them"):
            ask()
