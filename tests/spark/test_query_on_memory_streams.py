"""The query builder that production uses, fed from a stream in memory."""

from itertools import count
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from pyspark.sql import SparkSession

from bootstrap import windfalls
from streaming.backbones.runtime import Runtime
from streaming.backbones.shelf import Compiled
from streaming.decode import decode
from streaming.progress import ProgressReader, stamp
from streaming.query import featurized, observed
from tests.spark.memory import MemoryStream
from tests.spark.orchardist import SCHEMA, arrival, outcomes, running, work_on


@pytest.fixture
def arrivals(spark: SparkSession) -> MemoryStream:
    """Return an empty stream of arrivals."""
    return MemoryStream(spark, SCHEMA)


def test_every_arrival_becomes_one_outcome_equal_to_a_single_process_reference(
    spark: SparkSession, arrivals: MemoryStream, landing: Path, embedded: Compiled, embedded_model: Path
) -> None:
    """Vectors from workers equal those of decode and runtime called by hand; labels are the pictures' folders."""
    paths = sorted(landing.rglob("*.jpg"))
    runtime = Runtime(embedded_model, embedded.backbone, embedded.manifest.width)
    with running(featurized(arrivals.frame(), work_on(landing, embedded, embedded_model), 2), "reference") as query:
        arrivals.add([arrival(path) for path in paths])
        query.processAllAvailable()
    found = outcomes(spark, "reference")
    assert len(found) == len(paths)
    for path in paths:
        row = found[arrival(path)[0]]
        expected = runtime(decode(path.read_bytes(), embedded.backbone.preparation, 80_000_000).pixels)
        assert np.linalg.norm(np.array(row.features) - expected) <= 1e-4 * np.linalg.norm(expected)
        assert (row.label, row.featurizer, row.format) == (path.parent.name, embedded.backbone.featurizer, "jpeg")
        assert (row.width, row.height, row.rejection) == (100, 100, None)


def test_bad_pictures_leave_their_neighbours_alone(
    spark: SparkSession, arrivals: MemoryStream, landing: Path, embedded: Compiled, embedded_model: Path
) -> None:
    """Each bad file is rejected for its own reason, each odd one and each good one has features."""
    bad = windfalls.bad_files(landing / "bad")
    odd = windfalls.odd_files(landing / "odd")
    good = [path for path in landing.rglob("*.jpg") if path.parent.name not in ("bad", "odd")]
    with running(featurized(arrivals.frame(), work_on(landing, embedded, embedded_model), 2), "bad") as query:
        arrivals.add([arrival(path) for path in [*good, *odd, *(landing / "bad" / name for name in bad)]])
        query.processAllAvailable()
    found = outcomes(spark, "bad")
    for name, reason in bad.items():
        row = found[arrival(landing / "bad" / name)[0]]
        assert (row.rejection, row.features) == (reason.value, None), name
        assert row.detail
    for path in [*good, *odd]:
        row = found[arrival(path)[0]]
        assert row.rejection is None, (path, row.detail)
        assert len(row.features) == embedded.manifest.width


def test_pictures_that_change_or_go_between_arrival_and_fetch_are_rejected_by_name(
    spark: SparkSession, arrivals: MemoryStream, landing: Path, embedded: Compiled, embedded_model: Path
) -> None:
    """A deleted file is gone, an overwritten one changed, a dangling link gone; no vector is of another version."""
    gone, changed, kept = sorted(landing.rglob("*.jpg"))[:3]
    rows = [arrival(path) for path in (gone, changed, kept)]
    gone.unlink()
    changed.write_bytes(kept.read_bytes() + b"\0")
    with running(featurized(arrivals.frame(), work_on(landing, embedded, embedded_model), 2), "races") as query:
        arrivals.add(rows)
        query.processAllAvailable()
    found = outcomes(spark, "races")
    assert [found[row[0]].rejection for row in rows] == ["gone", "changed", None]


def test_a_query_that_found_nothing_to_do_reports_that_it_has_looked(
    arrivals: MemoryStream, landing: Path, embedded: Compiled, embedded_model: Path
) -> None:
    """A keeper that is to rest waits for it; it moved no rows, so there is no micro-batch to tell of."""
    with running(featurized(arrivals.frame(), work_on(landing, embedded, embedded_model), 2), "idle") as query:
        looked = next(tries for tries in count() if stamp(query) or tries == 400 or Event().wait(0.05))
        assert looked < 400, query.status
        assert list(ProgressReader(query).fresh()) == []


def test_each_micro_batch_reports_pictures_rejections_and_freshness(
    arrivals: MemoryStream, landing: Path, embedded: Compiled, embedded_model: Path
) -> None:
    """The observed metrics reach the progress reader once per micro-batch."""
    bad = landing / "Pear" / "empty.jpg"
    bad.write_bytes(b"")
    good = sorted(landing.rglob("*.jpg"))[:5]
    features = observed(featurized(arrivals.frame(), work_on(landing, embedded, embedded_model), 2))
    with running(features, "progress") as query:
        progress = ProgressReader(query)
        assert list(progress.fresh()) == []
        arrivals.add([arrival(path) for path in {*good, bad}])
        query.processAllAvailable()
        arrivals.add([arrival(path) for path in good[:2]])
        query.processAllAvailable()
        batches = list(progress.fresh())
        assert list(progress.fresh()) == []
    assert [batch.pictures for batch in batches] == [len({*good, bad}), 2]
    assert dict(batches[0].rejections) == {"empty": 1}
    assert batches[0].rate > 0
    assert 0 < batches[0].freshness_p50 <= batches[0].freshness_p95 < 600
