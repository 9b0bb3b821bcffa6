import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import obstore
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from obstore.exceptions import PermissionDeniedError

from conf.access import Access
from conf.errors import DeniedError, LandingError, StorageError, UsageError
from conf.logs import NAME, logger
from conf.uris import object_uri
from streaming.discovery.buckets import ObjectListing, pages_of
from streaming.discovery.collector import Collector
from streaming.discovery.heads import Heads, Look
from streaming.discovery.sighting import Found
from streaming.discovery.sqs import Queue, client_of
from streaming.landing import parse_skip
from tests.storage.cloud import Cloud, Wrapped
from tests.storage.faults import Faults
from tests.storage.proxy import proxying

RULE = parse_skip("txt")
STRANGE = [
    "plain.jpg",
    "red apple.jpg",
    "a+b.jpg",
    "100%.jpg",
    "a%20b.jpg",
    "apfel ä ñ 🍎.jpg",
    "folder=1/key&x?y#z.jpg",
    "empty//segment.jpg",
]


@dataclass
class Orchard:
    """A bucket, a queue that is told of it, and the landing within."""

    cloud: Cloud
    bucket: str
    queue: str
    landing: str

    def put(self, *names: str, content: bytes = b"apple") -> None:
        """Put pictures into the landing."""
        self.cloud.put(self.bucket, {f"in/{name}": content for name in names})

    def delete(self, name: str) -> None:
        """Delete one from it."""
        self.cloud.client("s3").delete_object(Bucket=self.bucket, Key=f"in/{name}")

    def send(self, *bodies: str) -> None:
        """Send messages of any text to the queue."""
        for body in bodies:
            self.cloud.client("sqs").send_message(QueueUrl=self.queue, MessageBody=body)

    def bodies(self) -> list[str]:
        """Take all messages out of the queue."""
        return [each.body for wave in Queue(self.queue, client_of(self.queue)).waves(0) for each in wave]

    def at_once(self) -> None:
        """Let messages that were received and not deleted come again at once."""
        attributes = {"VisibilityTimeout": "0"}
        self.cloud.client("sqs").set_queue_attributes(QueueUrl=self.queue, Attributes=attributes)

    def collector(self, look: Look | None = None) -> Collector:
        """Return a new collector, as after a start."""
        look = look or Heads(self.landing, Access()).look
        return Collector(self.landing, RULE, Queue(self.queue, client_of(self.queue)), look, wait=0)

    def listed(self) -> list[Found]:
        """Return what a listing finds."""
        return sorted(ObjectListing(self.landing, RULE, pages_of(self.landing, Access())).poll(), key=by_uri)

    def uri(self, name: str) -> str:
        """Return the URI of a picture in the landing."""
        return object_uri("s3", self.bucket, f"in/{name}")


def by_uri(found: Found) -> str:
    """Return what pictures are sorted by."""
    return found.uri


def collected(collector: Collector) -> list[Found]:
    """Receive round by round until nothing comes, each done with, and return what was found, sorted."""
    found: list[Found] = []
    while some := list(collector.receive()):
        found += some
        collector.done()
    collector.done()
    return sorted(found, key=by_uri)


@pytest.fixture
def orchard(aws: Cloud) -> Orchard:
    """Return a landing of its own in a new bucket, with a queue."""
    return _orchard(aws)


def _orchard(cloud: Cloud, wrapped: Wrapped | None = None, *, versioned: bool = False) -> Orchard:
    bucket = cloud.bucket(versioned=versioned)
    return Orchard(cloud, bucket, cloud.queue_of(bucket, wrapped), f"s3://{bucket}/in")


@pytest.mark.parametrize("wrapped", [None, "sns", "eventbridge"])
def test_notifications_find_what_a_listing_finds(aws: Cloud, wrapped: Wrapped | None) -> None:
    """However events come, whatever the keys are: same URIs, versions, times and sizes; then the queue is empty."""
    orchard = _orchard(aws, wrapped)
    orchard.put(*STRANGE)
    collector = orchard.collector()
    assert collected(collector) == orchard.listed()
    assert len(orchard.listed()) == len(STRANGE)
    assert orchard.bodies() == []
    # EventBridge sends no test event; moto's tells of tags with each object.
    told = {"other_event": len(STRANGE)} if wrapped == "eventbridge" else {"test_event": 1}
    assert collector.passed_over() == told


def test_a_versioned_bucket_tells_the_version(aws: Cloud) -> None:
    """Of two versions that came one after the other, the newest is found, as by a listing, with its version id."""
    orchard = _orchard(aws, versioned=True)
    orchard.put("apple.jpg", content=b"green")
    orchard.put("apple.jpg", content=b"red, and larger")
    (found,) = collected(orchard.collector())
    assert [replace(found, version=None)] == orchard.listed()
    assert found.version
    assert found.size == len(b"red, and larger")


def test_repeated_and_shuffled_events_change_nothing(orchard: Orchard) -> None:
    """Each picture is found with one identity, however often and in which order it is told of."""
    names = [f"apple-{number}.jpg" for number in range(12)]
    orchard.put(*names)
    bodies = orchard.bodies() * 2
    random.Random(5).shuffle(bodies)
    orchard.send(*bodies)
    assert sorted(set(collected(orchard.collector())), key=by_uri) == orchard.listed()


def test_what_is_not_done_comes_again(orchard: Orchard) -> None:
    """A driver that dies before its arrivals are committed loses nothing; after `done` nothing comes any more."""
    orchard.at_once()
    orchard.put("apple.jpg", "pear.jpg")
    lost = orchard.collector()
    assert list(lost.receive())
    assert collected(orchard.collector()) == orchard.listed()
    assert collected(orchard.collector()) == []


def test_a_round_that_follows_another_forgets_it(orchard: Orchard) -> None:
    """Where arrivals could not be committed, the next round's `done` does not delete what they were told of."""
    collector = orchard.collector()
    assert collected(collector) == []
    orchard.put("apple.jpg")
    assert [each.uri for each in collector.receive()] == [orchard.uri("apple.jpg")]
    orchard.put("pear.jpg")
    assert [each.uri for each in collector.receive()] == [orchard.uri("pear.jpg")]
    collector.done()
    assert Queue(orchard.queue, client_of(orchard.queue)).backlog() == 1


def test_what_does_not_count_is_counted(orchard: Orchard) -> None:
    """Foreign prefixes and buckets, deletions, names that are no pictures: dropped by kind, and gone from the queue."""
    orchard.put("apple.jpg", "gone.jpg", "notes.txt", ".git/apple.jpg", "apple.jpg.part", "folder/")
    orchard.delete("gone.jpg")
    orchard.cloud.put(orchard.bucket, {"inner/apple.jpg": b"apple", "in.jpg": b"apple"})
    s3 = {"bucket": {"name": "other"}, "object": {"key": "in/apple.jpg"}}
    orchard.send(json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": s3}]}))
    orchard.send(json.dumps({"Records": [{"eventName": "ObjectTagging:Put", "s3": s3}]}))
    collector = orchard.collector()
    assert collected(collector) == orchard.listed()
    assert collector.passed_over() == {
        "test_event": 1, "deletion": 1, "other_event": 1, "foreign": 3, "hidden": 1, "temporary": 1, "skipped": 1,
        "folder_marker": 1, "gone_already": 1,
    }  # fmt: skip
    assert orchard.bodies() == []


def test_a_message_that_is_not_understood_ends_among_the_dead_letters(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is never deleted here, is told of once in the log, counted each time, and holds up no other message."""
    monkeypatch.setattr(logger(), "propagate", True)
    orchard.at_once()
    orchard.send("a worm")
    orchard.put("apple.jpg")
    collector = orchard.collector()
    with caplog.at_level(logging.WARNING, NAME):
        found = [each.uri for _ in range(5) for each in _round(collector)]
    assert set(found) == {orchard.uri("apple.jpg")}
    dead = Queue(orchard.cloud.dead_letters_of(orchard.queue), client_of(orchard.queue))
    assert [each.body for wave in dead.waves(0) for each in wave] == ["a worm"]
    assert collector.passed_over()["not_understood"] == 3
    (told,) = caplog.records
    assert "dead-letter queue" in told.message
    assert "not JSON" in told.fields["why"]  # type: ignore[attr-defined]
    assert Queue(orchard.queue, client_of(orchard.queue)).dead_letters() == 1


def _round(collector: Collector) -> list[Found]:
    found = list(collector.receive())
    collector.done()
    return found


def test_a_landing_that_does_not_answer_loses_no_message(orchard: Orchard) -> None:
    """Nothing of the round is deleted, not even by `done`; the next round finds all."""
    orchard.at_once()
    orchard.put("apple.jpg", "pear.jpg")
    true = Heads(orchard.landing, Access()).look
    failing = orchard.collector(_failing(true, "in/pear.jpg"))
    with pytest.raises(StorageError, match="no route"):
        failing.receive()
    failing.done()
    assert failing.passed_over() == {}
    assert collected(orchard.collector()) == orchard.listed()


def _failing(look: Look, bad: str) -> Look:
    def failing(key: str) -> Found | None:
        if key == bad:
            raise StorageError("no route")
        return look(key)

    return failing


def test_calls_that_fail_lose_nothing(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Throttling, errors, resets, truncated and wrong answers to a fifth of all calls: the same is found."""
    # Where the answer to a poll is lost, its messages would come again only after half a minute.
    orchard.at_once()
    orchard.put(*[f"apple-{number}.jpg" for number in range(40)])
    listed = orchard.listed()
    with proxying(orchard.cloud.endpoint, Faults(share=0.2, seed=3)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        assert sorted(set(collected(orchard.collector())), key=by_uri) == listed


@pytest.mark.parametrize(("answers", "believed"), [(["spoilt", "told"], "told"), (["newer"] * 4, "newer")])
def test_an_e_tag_that_no_event_told_of_is_asked_for_again(orchard: Orchard, answers: list[str], believed: str) -> None:
    """A picture that was overwritten answers so each time; an answer spoilt on its way is not believed."""
    orchard.put("apple.jpg")
    (true,) = orchard.listed()
    looks = [replace(true, e_tag=true.e_tag if each == "told" else each) for each in answers]
    (found,) = collected(orchard.collector(lambda key: looks.pop(0)))
    assert found == (true if believed == "told" else replace(true, e_tag=believed))
    assert looks == []


@pytest.mark.parametrize("key", ["in/apple.jpg", "in//apple.jpg"])
def test_a_picture_that_may_not_be_read_is_found_as_the_listing_has_it(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Its fetch says what is wrong, under the identity that every other route gives it."""
    orchard.put("apple.jpg", "/apple.jpg", "apple.jpg.jpg")
    heads = Heads(orchard.landing, Access())
    monkeypatch.setattr(obstore, "head", _denied)
    monkeypatch.setattr(heads._client, "head_object", _refusing("403", 403))
    assert heads.look(key) in orchard.listed()


def test_without_a_right_to_read_or_list_the_landing_is_denied(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell then whether the picture is there, and waiting does not help."""
    heads = Heads(orchard.landing, Access())
    monkeypatch.setattr(heads._client, "list_objects_v2", _refusing("AccessDenied", 403))
    with pytest.raises(DeniedError, match=r"grant s3:ListBucket and s3:GetObject"):
        heads.look("in/apple.jpg")


def test_a_bucket_that_is_gone_is_not_taken_for_pictures_that_are_gone(aws: Cloud) -> None:
    """The messages stay until the bucket is there again, or somebody deletes them."""
    with pytest.raises(LandingError, match="make the bucket or correct --landing"):
        Heads("s3://no-such-orchard/in", Access()).look("in/apple.jpg")


def _denied(*_: object) -> None:
    raise PermissionDeniedError("403")


def _refusing(code: str, status: int = 400) -> Callable[..., Any]:
    said = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}

    def refusing(**_: object) -> None:
        raise ClientError(said, "Call")

    return refusing


def test_a_queue_that_does_not_exist_is_named(orchard: Orchard) -> None:
    """The message names the setting and the mend."""
    missing = f"{orchard.queue}-missing"
    with pytest.raises(LandingError, match=f"--queue {missing} does not exist .*correct the URL"):
        next(Queue(missing, client_of(missing)).waves(0))
    assert Queue(missing, client_of(missing)).backlog() is None


@dataclass
class Scripted:
    """SQS as a test wants it: what it holds, how many deletions fail, and which calls were made."""

    bodies: list[str] = field(default_factory=list)
    failures: int = 0
    error: Exception | None = None
    calls: Counter[str] = field(default_factory=Counter)

    def receive_message(self, MaxNumberOfMessages: int, **_: object) -> Mapping[str, Any]:
        """Give the next messages."""
        self.calls["receive"] += 1
        if self.error:
            raise self.error
        taken = [self.bodies.pop() for _ in range(min(MaxNumberOfMessages, len(self.bodies)))]
        number = len(self.bodies)
        messages = [
            {"MessageId": f"{number}-{at}", "ReceiptHandle": "r", "Body": body} for at, body in enumerate(taken)
        ]
        return {"Messages": messages} if messages else {}

    def delete_message_batch(self, Entries: list[dict[str, str]], **_: object) -> Mapping[str, Any]:
        """Delete, or fail to."""
        self.calls["delete"] += 1
        failed = Entries[: self.failures]
        self.failures -= len(failed)
        return {"Failed": [{"Id": each["Id"], "SenderFault": False, "Code": "Internal"} for each in failed]}


def test_an_idle_queue_costs_one_poll() -> None:
    """However many there could be."""
    client = Scripted()
    assert list(Queue("https://queue/1/q", client).waves(0)) == []
    assert client.calls == {"receive": 1}


def test_a_round_ends_by_its_bound() -> None:
    """What is left waits for the next one; messages that tell nothing end a round, too."""
    client = Scripted(bodies=["a worm"] * 1000)
    collector = Collector("s3://orchard/in", RULE, Queue("https://queue/1/q", client), lambda key: None, most=100)
    list(collector.receive())
    assert collector.full
    assert 100 <= 1000 - len(client.bodies) < 300
    while collector.full:
        list(collector.receive())
    assert client.bodies == []


@pytest.mark.parametrize(("failures", "left", "calls"), [(0, 0, 3), (3, 0, 4), (100, 25, 9)])
def test_deletions_that_fail_are_tried_again_and_then_left(failures: int, left: int, calls: int) -> None:
    """The messages come again, which changes nothing."""
    client = Scripted(failures=failures)
    assert Queue("https://queue/1/q", client).delete([str(number) for number in range(25)]) == left
    assert client.calls["delete"] == calls


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_refusing("AWS.SimpleQueueService.NonExistentQueue"), LandingError),
        (_refusing("AccessDeniedException"), DeniedError),
        (_refusing("KMS.AccessDeniedException"), DeniedError),
        (_refusing("InvalidClientTokenId"), DeniedError),
        (_refusing("ThrottlingException"), StorageError),
        (_refusing("InternalFailure", 500), StorageError),
        (EndpointConnectionError(endpoint_url="https://queue"), StorageError),
    ],
)
def test_an_error_of_the_queue_is_one_line_that_names_it(error: Any, kind: type[Exception]) -> None:
    """What waiting mends is a storage error; what a person has to mend is told apart."""
    client = Scripted()
    client.error = error if isinstance(error, Exception) else None
    if client.error is None:
        client.receive_message = error  # type: ignore[method-assign]
    with pytest.raises(kind, match=r"^--queue https://queue/1/q [^\n]*$") as raised:
        list(Queue("https://queue/1/q", client).waves(0))
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/1/q", "eu-west-1", "https://sqs.eu-west-1.amazonaws.com"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn"),
        (
            "https://v-1.sqs.us-east-2.vpce.amazonaws.com/1/q",
            "us-east-2",
            "https://v-1.sqs.us-east-2.vpce.amazonaws.com",
        ),
        ("http://localhost:9324/1/q", "us-east-1", "http://localhost:9324"),
    ],
)
def test_a_queue_is_reached_where_its_url_says(
    monkeypatch: pytest.MonkeyPatch, url: str, region: str, endpoint: str
) -> None:
    """Also one of another region, of a private endpoint or of a service that is not Amazon's."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    meta = client_of(url).meta
    assert (meta.region_name, meta.endpoint_url) == (region, endpoint)


@pytest.mark.parametrize("url", ["", "queue", "arn:aws:sqs:us-east-1:1:q", "https://", "https://host/"])
def test_what_is_no_url_of_a_queue_is_a_wrong_setting(url: str) -> None:
    """The message shows what one looks like."""
    with pytest.raises(UsageError, match="say https://sqs"):
        client_of(url)
