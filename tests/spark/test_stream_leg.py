"""The streaming leg over real Delta tables: what lands is featurized once, whatever happens in between."""

import os
import shutil
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

import verger
from bootstrap import orchard, windfalls
from conf.errors import LakeError, LandingError, StorageError, StreamError, UsageError
from conf.lake import LakePaths
from conf.schemas import ARRIVALS, FEATURES
from conf.settings import Settings
from conf.uris import uri_of
from streaming import stream
from streaming.arrivals import Arrivals
from streaming.backbones.runtime import Runtime
from streaming.backbones.shelf import Compiled
from streaming.decode import decode
from streaming.discovery import zone
from streaming.discovery.folders import FolderListing
from streaming.landing import NameRule
from tests.conftest import TINY
from tests.places import local
from tests.spark.conftest import Run
from tests.spark.ledger import batch_sizes, uris


def test_what_has_landed_is_featurized_once_and_a_second_run_starts_no_jvm(
    run: Run, landing: Path, lake: LakePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every picture has one row; with nothing new a second run ends before Spark; new pictures alone are added."""
    assert run().featurized == 24
    first = verger.open(str(lake.root)).features()
    assert uris(first) == sorted(uri_of(path) for path in landing.rglob("*.jpg"))
    assert set(first["label"].to_pylist()) <= set(orchard.VARIETIES)

    def no_session(name: str, **_: Any) -> AbstractContextManager[SparkSession]:
        raise AssertionError("Spark was started for nothing")

    given = Settings(landing=str(landing), lake=str(lake.root), backbone=(TINY,), once=True, settle=0.0)
    assert stream.run(given, Event(), sessions=no_session).featurized == 0
    orchard.plant(landing, 6, seed=1, start=24)
    assert run().featurized == 6
    assert len(uris(verger.open(str(lake.root)).features())) == 30


def test_on_yarn_the_session_comes_first(landing: Path, lake: LakePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """YARN gives up a driver without one, however long the landing takes to list."""
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    monkeypatch.setenv("CONTAINER_ID", "container_1_0001_01_000001")

    def none_to_be_had(name: str, **_: Any) -> AbstractContextManager[SparkSession]:
        raise LakeError(f"{name}: {DeltaTable(lake.table(ARRIVALS)).version()}")

    given = Settings(landing=str(landing), lake=str(lake.root), backbone=(TINY,), once=True, settle=0.0)
    with pytest.raises(LakeError, match="verger stream: 0"):
        stream.run(given, Event(), sessions=none_to_be_had)


def test_features_equal_a_single_process_reference(
    run: Run, lake: LakePaths, photos: Path, embedded: Compiled, embedded_model: Path, tmp_path: Path
) -> None:
    """Real photos, read back through delta-rs, have the vectors of a plain loop (norm to 1e-4)."""
    taken = sorted(photos.rglob("*.jpg"))[::120]
    landing = tmp_path / "photos"
    for path in taken:
        (landing / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, landing / path.parent.name / path.name)
    run(landing=str(landing))
    rows = verger.open(str(lake.root)).features().to_pylist()
    found = {row["uri"]: np.array(row["features"]) for row in rows}
    assert len(found) == len(taken)
    runtime = Runtime(embedded_model, embedded.backbone, embedded.manifest.width)
    for path in taken:
        expected = runtime(decode(path.read_bytes(), embedded.backbone.preparation, 80_000_000).pixels)
        vector = found[uri_of(landing / path.parent.name / path.name)]
        assert np.linalg.norm(vector - expected) <= 1e-4 * np.linalg.norm(expected)


def test_bad_inputs_among_good_ones_each_have_their_row(run: Run, landing: Path, lake: LakePaths) -> None:
    """Every file that counts as a picture has an outcome, bad ones with the right reason; the rest is counted."""
    bad = {
        uri_of(landing / "bad" / name): reason.value for name, reason in windfalls.bad_files(landing / "bad").items()
    }
    odd = windfalls.odd_files(landing / "odd")
    (landing / "dangling.jpg").symlink_to("nowhere.jpg")
    bad[uri_of(landing / "dangling.jpg")] = "gone"
    (landing / "notes.txt").write_text("not a picture")
    (landing / ".hidden.jpg").write_bytes(b"")
    (landing / "upload.jpg.part").write_bytes(b"")
    totals = run()
    opened = verger.open(str(lake.root))
    assert {row["uri"]: row["rejection"] for row in opened.rejections().to_pylist()} == bad
    assert len(uris(opened.features())) == 24 + len(odd)
    assert totals.rejections == Counter(bad.values())
    assert totals.passed_over == {"skipped": 1, "hidden": 1, "temporary": 1}
    assert totals.backlog == 0


def test_a_micro_batch_takes_no_more_than_its_bound(run: Run, lake: LakePaths) -> None:
    """A backlog is admitted in micro-batches of the size asked for, whole files each."""
    run(batch_pictures=10)
    assert batch_sizes(lake) == [10, 10, 4]


@pytest.mark.long
def test_a_trickle_is_admitted_many_files_at_a_time(run: Run, landing: Path, lake: LakePaths) -> None:
    """Arrivals that came one by one do not cost one micro-batch each, beyond delta-rs's own log checkpoint, too."""
    orchard.plant(landing, 86, seed=1, start=24)
    found = FolderListing(landing, NameRule(frozenset()), settle=0).poll()
    commits = list(Arrivals(lake.table(ARRIVALS)).append(found, route="listing", rows_per_file=1))
    assert commits == [1] * 110
    assert list(Path(lake.table(ARRIVALS)).glob("_delta_log/*.checkpoint.parquet"))
    run(batch_pictures=1000)
    assert sum(batch_sizes(lake)) == 110
    assert len(batch_sizes(lake)) <= 110 / 8


def test_a_stopped_run_goes_on_where_it_was(run: Run, landing: Path, lake: LakePaths) -> None:
    """Stopped after its first micro-batches, of 24, the next run does the rest, and no picture twice."""
    first = run(batch_pictures=1, watch=lambda totals: totals.featurized > 0)
    assert 0 < first.featurized < 24
    run()
    assert uris(verger.open(str(lake.root)).features()) == sorted(uri_of(path) for path in landing.rglob("*.jpg"))
    assert sum(batch_sizes(lake)) == 24


def test_a_crash_between_the_two_commits_of_a_micro_batch_doubles_nothing(
    run: Run, landing: Path, lake: LakePaths
) -> None:
    """The Delta commit stands, Spark's own commit is lost: the batch is planned again and the sink skips it."""
    run()
    commits = sorted((next(local(lake.checkpoints).iterdir()) / "commits").glob("[0-9]*"))
    commits[-1].unlink()
    commits[-1].with_name(f".{commits[-1].name}.crc").unlink(missing_ok=True)
    orchard.plant(landing, 4, seed=9, start=24)
    run()
    assert sum(batch_sizes(lake)) == 28
    assert len(uris(verger.open(str(lake.root)).features())) == 28


def test_a_stop_before_spark_starts_is_seen(landing: Path, lake: LakePaths) -> None:
    """The arrivals stand and no JVM is started for nothing."""

    def no_session(name: str, **_: Any) -> AbstractContextManager[SparkSession]:
        raise AssertionError("Spark was started for nothing")

    stop = Event()
    stop.set()
    given = Settings(landing=str(landing), lake=str(lake.root), backbone=(TINY,), settle=0.0)
    totals = stream.run(given, stop, sessions=no_session)
    assert (totals.landed, totals.backlog) == (24, 24)


def test_an_overwritten_picture_has_its_newest_outcome(run: Run, landing: Path, lake: LakePaths) -> None:
    """Both versions have an outcome; readers see the newer, be it a rejection."""
    run()
    path = min(landing.rglob("*.jpg"))
    path.write_bytes(b"no longer a picture")
    assert run().rejected == 1
    opened = verger.open(str(lake.root))
    assert uris(opened.rejections()) == [uri_of(path)]
    assert uri_of(path) not in uris(opened.features())
    assert opened.arrivals().num_rows == sum(batch_sizes(lake)) == 25


class Outage:
    """A landing that fails, as a network does."""

    ahead = 1

    def __init__(self, root: str) -> None:
        self.root = root

    def read(self, uri: str, e_tag: str, size: int, byte_limit: int) -> bytes:
        """Fail as the world does."""
        raise StorageError("the network is down")


@pytest.mark.long
def test_the_worlds_fault_ends_the_run_and_rejects_nothing(
    run: Run, lake: LakePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the landing fails no row is written; afterwards every picture gets its features."""
    with monkeypatch.context() as broken:
        broken.setattr(zone, "FolderStorage", Outage)
        with pytest.raises(StreamError, match="the network is down"):
            run()
    assert batch_sizes(lake) == []
    assert run().featurized == 24


def test_a_row_that_is_neither_features_nor_a_rejection_cannot_be_written(
    run: Run, lake: LakePaths, spark: SparkSession
) -> None:
    """The table's own constraint refuses a row with both columns null."""
    run()
    place = lake.table(FEATURES)
    empty = (
        spark.read.format("delta")
        .load(place)
        .limit(1)
        .selectExpr("* EXCEPT (features)", "CAST(NULL AS ARRAY<FLOAT>) AS features")
    )
    with pytest.raises(Py4JJavaError, match="DELTA_VIOLATE_CONSTRAINT"):
        empty.write.format("delta").mode("append").save(place)


def test_the_tables_stay_readable_by_others(run: Run, lake: LakePaths) -> None:
    """Reader version 1, no deletion vectors: Polars reads the features that Spark wrote."""
    polars = pytest.importorskip("polars")
    run()
    assert DeltaTable(lake.table(FEATURES)).protocol().min_reader_version == 1
    read = polars.read_delta(lake.table(FEATURES))
    assert read["features"].list.len().unique().to_list() == [1280]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"landing": "/nonexistent/landing"}, LandingError, "does not exist"),
        ({"landing": ""}, UsageError, "--landing is missing"),
        ({"landing": "ftp://host/prefix"}, UsageError, "ftp:// is not supported"),
        ({"backbone": ("alexnet",)}, UsageError, "--backbone alexnet"),
        ({"label": "(unclosed"}, UsageError, "--label"),
        ({"spark_conf": "nonsense"}, UsageError, "spark_conf"),
    ],
)
def test_a_wrong_setting_is_one_clear_line_before_anything_starts(
    run: Run, changed: dict[str, str], error: type[Exception], message: str
) -> None:
    """The message names the setting and the mend."""
    with pytest.raises(error, match=message) as raised:
        run(**changed)
    assert "\n" not in str(raised.value)


def test_a_lake_inside_its_landing_is_refused(run: Run, landing: Path) -> None:
    """Its tables would be taken for pictures."""
    with pytest.raises(UsageError, match="contain one another"):
        run(lake=str(landing / "lake"))


def test_a_folder_of_something_else_is_no_lake(run: Run, tmp_path: Path) -> None:
    """A lake is made in a new or empty folder only."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.tex").write_text("")
    with pytest.raises(LakeError, match="not empty and is not a lake"):
        run(lake=str(tmp_path / "documents"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_rejected(run: Run, landing: Path, lake: LakePaths) -> None:
    """Forbidden, while the landing itself answers."""
    path = min(landing.rglob("*.jpg"))
    path.chmod(0)
    run()
    assert verger.open(str(lake.root)).rejections()["rejection"].to_pylist() == ["forbidden"]
