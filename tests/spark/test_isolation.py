"""Pictures that crash the decoder, make it hang or devour memory, in the query that production uses."""

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import Row, SparkSession

from streaming.backbones.shelf import Compiled
from streaming.query import featurized
from streaming.worker import Work
from tests.spark.memory import MemoryStream
from tests.spark.orchardist import SCHEMA, arrival, outcomes, running, work_on
from tests.unit.hostile import endless_jpeg, harmful, vulnerable

IDLE = "spark.sql.execution.pyspark.udf.idleTimeoutSeconds"


@pytest.fixture
def arrivals(spark: SparkSession) -> MemoryStream:
    """Return an empty stream of arrivals."""
    return MemoryStream(spark, SCHEMA)


@pytest.fixture
def impatient(spark: SparkSession) -> Iterator[None]:
    """Let Spark kill a worker after twenty seconds of silence: no fewer, as a busy machine takes some to start one."""
    before = spark.conf.get(IDLE)
    spark.conf.set(IDLE, "20")
    yield
    spark.conf.set(IDLE, str(before))


def plant(landing: Path, bad: Mapping[str, bytes]) -> list[Path]:
    """Land the bad pictures among the good ones, and return them all."""
    (landing / "Bad").mkdir()
    for name, data in bad.items():
        (landing / "Bad" / name).write_bytes(data)
    return sorted(landing.rglob("*.jpg"))


def featurize(spark: SparkSession, arrivals: MemoryStream, work: Work, paths: list[Path]) -> dict[str, Row]:
    """Run a micro-batch of all pictures but one, and another of that one; give the outcomes by file name."""
    with running(featurized(arrivals.frame(), work, 2), "isolation") as query:
        arrivals.add([arrival(path) for path in paths[1:]])
        query.processAllAvailable()
        arrivals.add([arrival(paths[0])])
        query.processAllAvailable()
        assert query.isActive
    found = outcomes(spark, "isolation")
    assert len(found) == len(paths)
    return {uri.rpartition("/")[2]: row for uri, row in found.items()}


def rejections(rows: Mapping[str, Row]) -> dict[str, tuple[str, str]]:
    """Return reason and detail of the rejected; all others must have features."""
    assert all((row.features is None) != (row.rejection is None) for row in rows.values())
    return {name: (row.rejection, row.detail) for name, row in rows.items() if row.rejection}


def test_pictures_that_crash_the_decoder_are_rejected_by_name(
    spark: SparkSession, arrivals: MemoryStream, landing: Path, embedded: Compiled, embedded_model: Path
) -> None:
    """Each in its own row, all neighbours have features, and the query takes the next micro-batch."""
    good = next(landing.rglob("*.jpg")).read_bytes()
    harms = ("segfault", "signal", "leave")
    paths = plant(landing, {f"{harm}.jpg": harmful(good, harm) for harm in harms})
    rows = featurize(spark, arrivals, work_on(landing, embedded, embedded_model, decode=vulnerable), paths)
    assert rejections(rows) == {
        "segfault.jpg": ("crashed", "the decoder was ended by SIGSEGV"),
        "signal.jpg": ("crashed", "the decoder was ended by SIGABRT"),
        "leave.jpg": ("crashed", "the decoder exited with status 3"),
    }


@pytest.mark.usefixtures("impatient")
def test_pictures_that_make_the_decoder_hang_are_rejected_by_name(
    spark: SparkSession, arrivals: MemoryStream, landing: Path, embedded: Compiled, embedded_model: Path
) -> None:
    """Decoders that wait and that compute without end, and a real JPEG that keeps Pillow busy for minutes."""
    good = next(landing.rglob("*.jpg")).read_bytes()
    bad = {"sleep.jpg": harmful(good, "sleep"), "spin.jpg": harmful(good, "spin"), "endless.jpg": endless_jpeg()}
    paths = plant(landing, bad)
    work = work_on(landing, embedded, embedded_model, decode=vulnerable, decode_seconds=2.0)
    expected = dict.fromkeys(bad, ("timed_out", "not decoded after 2 s"))
    assert rejections(featurize(spark, arrivals, work, paths)) == expected


def test_a_picture_that_devours_memory_is_rejected_by_name(
    spark: SparkSession, arrivals: MemoryStream, landing: Path, embedded: Compiled, embedded_model: Path
) -> None:
    """The first run fails for want of memory, the second tells which picture it was."""
    good = next(landing.rglob("*.jpg")).read_bytes()
    paths = plant(landing, {"devour.jpg": harmful(good, "devour")})
    work = work_on(landing, embedded, embedded_model, decode=vulnerable)
    ((name, (reason, detail)),) = rejections(featurize(spark, arrivals, work, paths)).items()
    assert (name, reason) == ("devour.jpg", "crashed")
    assert detail.startswith("it needs more than 2.63 GiB")


@pytest.mark.usefixtures("impatient")
@pytest.mark.long
def test_slow_pictures_are_no_hang(
    spark: SparkSession, arrivals: MemoryStream, landing: Path, embedded: Compiled, embedded_model: Path
) -> None:
    """Rows that go out early reach Spark at once, though they are smaller than its buffers usually are."""
    first, *slow = sorted(landing.rglob("*.jpg"))[:12]
    for path in slow:
        path.write_bytes(harmful(path.read_bytes(), "dawdle"))
    work = work_on(landing, embedded, embedded_model, decode=vulnerable)
    with running(featurized(arrivals.frame(), work, 1), "slow") as query:
        arrivals.add([arrival(first)])
        query.processAllAvailable()
        arrivals.add([arrival(path) for path in slow])
        query.processAllAvailable()
    assert rejections(outcomes(spark, "slow")) == {}


@dataclass(frozen=True)
class DeadlyStorage:
    """A storage whose client crashes."""

    ahead: int = 1

    def read(self, uri: str, e_tag: str, size: int, byte_limit: int) -> bytes:
        """Crash."""
        os.kill(os.getpid(), signal.SIGSEGV)
        return b""


def test_a_crash_outside_the_decoder_blames_no_picture(
    spark: SparkSession, arrivals: MemoryStream, landing: Path, embedded: Compiled, embedded_model: Path
) -> None:
    """After the fourth run the query fails, and no row is written."""
    work = work_on(landing, embedded, embedded_model, storage=DeadlyStorage())
    with running(featurized(arrivals.frame(), work, 2), "deadly") as query:
        arrivals.add([arrival(path) for path in sorted(landing.rglob("*.jpg"))])
        with pytest.raises(StreamingQueryException, match="Python worker exited unexpectedly"):
            query.processAllAvailable()
    assert outcomes(spark, "deadly") == {}
