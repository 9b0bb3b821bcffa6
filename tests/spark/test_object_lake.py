"""A lake and a landing on S3, by way of a proxy that can fail: the same promises as in folders."""

import json
import random
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from threading import Event
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

import verger
from batch import refit
from bootstrap import orchard
from conf import lease
from conf.errors import LakeError, UsageError, VergerError
from conf.lake import LakePaths, create_lake
from conf.schemas import FEATURES
from conf.settings import Settings
from conf.tables import open_table
from conf.uris import object_uri
from streaming import stream
from streaming.backbones.shelf import Compiled, save
from streaming.commands import errands
from streaming.commands.requests import forget, upkeep
from streaming.commands.selection import select
from tests.conftest import TINY
from tests.spark.conftest import Sessions
from tests.storage.cloud import Cloud
from tests.storage.proxy import FaultProxy, Faults

PREFIX = "fruit & veg/"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """Draw two dozen pictures, by key, and others with names that give trouble."""
    folder = tmp_path_factory.mktemp("drawn")
    orchard.plant(folder, 24, seed=1)
    drawn = {f"{PREFIX}{path.parent.name}/{path.name}": path.read_bytes() for path in sorted(folder.rglob("*.*"))}
    some = next(each for name, each in drawn.items() if name.endswith(".jpg"))
    return drawn | {
        f"{PREFIX}odd/ä b+c%41#?.jpg": some,
        f"{PREFIX}odd//empty segment.jpg": some,
        f"{PREFIX}odd/cut.jpg": some[: len(some) // 2],
    }


@pytest.fixture
def bucket(proxied: Cloud, pictures: Mapping[str, bytes]) -> str:
    """Land the pictures, a text, a hidden file and a picture elsewhere in the bucket."""
    name = proxied.bucket("landing")
    beside = {f"{PREFIX}notes.txt": b"text", f"{PREFIX}.hidden/1.jpg": b"1", "elsewhere/1.jpg": b"1"}
    proxied.put(name, {**pictures, **beside})
    return name


@pytest.fixture
def object_lake(proxied: Cloud, embedded: Compiled) -> LakePaths:
    """Return a new lake on S3 that holds the compiled backbone."""
    paths = create_lake(f"s3a://{proxied.bucket('lake')}/orchard")
    save(embedded, paths.backbones)
    return paths


@pytest.fixture
def settings(bucket: str, object_lake: LakePaths) -> Settings:
    """Give the settings of a stream from one to the other that ends when all is drained."""
    landing = f"s3://{bucket}/{PREFIX}"
    return Settings(landing=landing, lake=str(object_lake.root), backbone=(TINY,), once=True)


def outcomes(lake: LakePaths) -> pa.Table:
    """Return every row of features, without the vectors."""
    columns = ["uri", "e_tag", "landed_at", "attempt", "rejection", "featurizer"]
    return open_table(lake.table(FEATURES)).to_pyarrow_dataset().to_table(columns=columns)


def check_outcomes(lake: LakePaths, bucket: str, pictures: Iterable[str]) -> dict[str, str | None]:
    """Check that each picture arrived once and has one outcome; return the rejections by key."""
    arrived = verger.open(str(lake.root)).arrivals()
    rows = outcomes(lake)
    expected = sorted(object_uri("s3", bucket, key) for key in pictures)
    assert sorted(arrived["uri"].to_pylist()) == expected
    assert sorted(rows["uri"].to_pylist()) == expected
    return {
        uri.partition(f"{bucket}/")[2]: why
        for uri, why in zip(rows["uri"].to_pylist(), rows["rejection"].to_pylist(), strict=True)
        if why
    }


REJECTED = {
    "fruit%20%26%20veg/odd//empty%20segment.jpg": "unaddressable",
    "fruit%20%26%20veg/odd/cut.jpg": "truncated",
}


def test_a_bucket_becomes_a_feature_space_in_a_lake_on_s3(
    settings: Settings, bucket: str, object_lake: LakePaths, proxied: Cloud, pictures: Mapping[str, bytes],
    sessions: Sessions,
) -> None:  # fmt: skip
    """Each picture has one outcome, whatever its key; all that works in folders works, and costs no JVM at the end."""
    totals = stream.run(settings, Event(), sessions=sessions)
    assert (totals.landed, totals.backlog) == (len(pictures), 0)
    assert totals.passed_over == {"skipped": 1, "hidden": 1}
    assert check_outcomes(object_lake, bucket, pictures) == REJECTED

    done = refit.run(Settings(lake=settings.lake, components=3), sessions=sessions)
    assert done.model is not None
    assert done.model.n == len(pictures) - len(REJECTED)
    lake = verger.open(settings.lake)
    assert lake.view().num_rows == done.model.n
    gone = next(iter(pictures))
    answer = errands.have_done(lake.paths, forget(select([f"s3://{bucket}/{gone}"])), settings)
    assert (answer.exit_code, answer.facts["pictures"]) == (0, 1)
    assert lake.view().num_rows == done.model.n - 1
    other = list(pictures)[1]
    proxied.put(bucket, {gone: b"another version", other: b"another version"})
    totals = stream.run(settings, Event(), sessions=sessions)
    assert (totals.passed_over["forgotten"], totals.backlog, totals.landed) == (1, 0, len(pictures))
    here = lake.features()["uri"].to_pylist()
    assert object_uri("s3", bucket, gone) not in here
    assert object_uri("s3", bucket, other) not in here
    assert errands.have_done(lake.paths, upkeep(), settings).exit_code == 0

    def no_session(name: str, **_: Any) -> AbstractContextManager[SparkSession]:
        raise AssertionError("a session was started")

    assert stream.run(settings, Event(), sessions=no_session).featurized == 0


@pytest.mark.long
def test_a_checkpoint_that_is_gone_loses_nothing(
    settings: Settings, bucket: str, object_lake: LakePaths, proxied: Cloud, pictures: Mapping[str, bytes],
    sessions: Sessions, embedded: Compiled,
) -> None:  # fmt: skip
    """The run goes on from the tables; what is set aside lies in the quarantine until upkeep takes it."""
    first = dict(list(pictures.items())[:5])
    few = replace(settings, landing=f"s3://{proxied.bucket('few')}/x")
    proxied.put(few.landing.split("/")[2], {key.replace(PREFIX, "x/"): each for key, each in first.items()})
    stream.run(few, Event(), sessions=sessions)
    (object_lake.checkpoint(embedded.backbone.featurizer) / "metadata").unlink()
    totals = stream.run(settings, Event(), sessions=sessions)
    assert totals.backlog == 0
    rows = outcomes(object_lake)
    assert rows.num_rows == len(set(rows["uri"].to_pylist())) == len(pictures) + len(first)
    assert any(object_lake.quarantine.iterdir())


def notices(cloud: Cloud, bucket: str, keys: Iterable[str], queue: str) -> None:
    """Tell a queue of pictures as S3 does: some lost, some twice, all in any order, with garbage between."""
    draw = random.Random(3)
    told = [key for key in keys if draw.random() > 0.1]
    told += [key for key in told if draw.random() < 0.2]
    draw.shuffle(told)
    records = [
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": quote_plus(key)}}}
        for key in told
    ]
    bodies = [json.dumps({"Records": [each | {"eventVersion": "2.1", "eventSource": "aws:s3"}]}) for each in records]
    for body in ["garbage{", json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": bucket}), *bodies]:
        cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=body)


@pytest.mark.long
def test_notifications_and_one_listing_find_every_picture_while_the_store_fails(
    settings: Settings, bucket: str, object_lake: LakePaths, cloud: Cloud, proxied: Cloud, proxy: FaultProxy,
    pictures: Mapping[str, bytes], sessions: Sessions,
) -> None:  # fmt: skip
    """Lost, repeated and shuffled events, and calls that fail: one outcome each, and no rejection by the store."""
    queue = cloud.queue()
    notices(cloud, bucket, pictures, queue)
    proxy.set(Faults(share=0.05, seed=5))
    heard = replace(settings, discover="notifications", queue=queue.replace(cloud.endpoint, proxied.endpoint))
    totals = stream.run(heard, Event(), sessions=sessions)
    counts = proxy.counts()
    proxy.set(Faults())
    assert totals.backlog == 0
    assert totals.passed_over["not_understood"] == 1
    assert totals.passed_over["test_event"] == 1
    assert check_outcomes(object_lake, bucket, pictures) == REJECTED
    assert sum(counts[kind] for kind in ("slow_down", "internal_error", "reset")) > 0
    routes = set(verger.open(settings.lake).arrivals()["route"].to_pylist())
    assert routes == {"notification", "listing"}


def test_a_second_stream_is_refused_with_the_name_of_the_first(
    settings: Settings, object_lake: LakePaths, sessions: Sessions
) -> None:
    """It says who holds the lease, since when, and how to break it."""
    with (
        lease.hold(object_lake.lease("stream"), seconds=6),
        pytest.raises(LakeError, match=r"process \d+ on .* since"),
    ):
        stream.run(settings, Event(), sessions=sessions)


@pytest.mark.long
def test_a_stream_that_lost_its_lease_ends_and_its_micro_batch_is_not_committed(
    settings: Settings, bucket: str, object_lake: LakePaths, pictures: Mapping[str, bytes], sessions: Sessions
) -> None:
    """Workers find another holder's name before their rows count; who takes over finds nothing done and all to do."""

    def usurped(text: str) -> None:
        if "to make" in text:
            object_lake.lease("stream").write_bytes(json.dumps({"token": "another's", "host": "elsewhere"}).encode())

    with pytest.raises(VergerError, match="lease"):
        stream.run(settings, Event(), say=usurped, sessions=sessions)
    assert outcomes(object_lake).num_rows == 0
    released = json.dumps({"token": "another's", "released": True}).encode()
    object_lake.lease("stream").write_bytes(released)
    stream.run(settings, Event(), sessions=sessions)
    assert check_outcomes(object_lake, bucket, pictures) == REJECTED


BUCKETS = Settings(landing="s3://bucket/pictures", lake="s3://bucket/lake", backbone=(TINY,))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (replace(BUCKETS, lake="gs://bucket/lake"), "a lake lies in a folder or on S3"),
        (replace(BUCKETS, lake="s3://bucket/a lake"), "name a prefix of letters"),
        (replace(BUCKETS, lake="s3://bucket/inside/lake", landing="s3://bucket/inside"), "contain one another"),
        (replace(BUCKETS, discover="notifications"), "needs --queue"),
        (replace(BUCKETS, discover="notifications", queue="q", landing="gs://bucket"), "only S3 tells"),
        (replace(BUCKETS, landing="s3://"), "names no bucket"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(
    settings: Settings, said: str, aws: Cloud, sessions: Sessions
) -> None:
    """One line says what to change, before anything is made."""
    with pytest.raises(UsageError, match=said):
        stream.run(settings, Event(), sessions=sessions)
