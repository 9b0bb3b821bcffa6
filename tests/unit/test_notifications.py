import json
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streaming.discovery.notifications import Event, Happened, NotUnderstood, events

APPLE = Event(Happened.CREATED, "orchard", "in/red apple.jpg", "a1")
TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def record(name: str = "ObjectCreated:Put", bucket: str = "orchard", key: str = "in/red+apple.jpg") -> dict[str, Any]:
    """Return one record as S3 writes it."""
    s3 = {"s3SchemaVersion": "1.0", "bucket": {"name": bucket}, "object": {"key": key, "size": 9, "eTag": "a1"}}
    return {"eventVersion": "2.3", "eventSource": "aws:s3", "eventName": name, "s3": s3}


def records(*each: object) -> str:
    """Return the body of a message with records."""
    return json.dumps({"Records": each})


def bridged(kind: str = "Object Created", key: object = "in/red apple.jpg", source: str = "aws.s3") -> str:
    """Return the body of a message of EventBridge."""
    detail = {"bucket": {"name": "orchard"}, "object": {"key": key, "size": 9, "etag": "a1", "version-id": "v"}}
    return json.dumps({"version": "0", "detail-type": kind, "source": source, "detail": detail})


def enveloped(message: object) -> str:
    """Return a body within the envelope of SNS."""
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:x:1:t", "Message": message})


@pytest.mark.parametrize(
    "body", [records(record()), bridged(), enveloped(records(record())), enveloped(bridged())],
    ids=["S3", "EventBridge", "S3 by SNS", "EventBridge by SNS"],
)  # fmt: skip
def test_a_creation_is_understood_however_it_came(body: str) -> None:
    """The key of S3's own records is form-encoded, that of EventBridge is not."""
    assert events(body) == [APPLE]


@pytest.mark.parametrize("kind", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
def test_each_way_to_create_an_object_counts(kind: str) -> None:
    """A copy and the end of an upload in parts are creations, too."""
    assert events(records(record(f"ObjectCreated:{kind}"))) == [APPLE]


@pytest.mark.parametrize(
    ("name", "happened"),
    [
        ("ObjectRemoved:Delete", Happened.DELETED),
        ("ObjectRemoved:DeleteMarkerCreated", Happened.DELETED),
        ("LifecycleExpiration:Delete", Happened.DELETED),
        ("s3:ObjectRemoved:Delete", Happened.DELETED),
        ("ObjectRestore:Completed", Happened.OTHER),
        ("ObjectTagging:Put", Happened.OTHER),
        ("ObjectAcl:Put", Happened.OTHER),
        ("Replication:OperationFailedReplication", Happened.OTHER),
        ("ObjectCreatedLater:Put", Happened.OTHER),
    ],
)
def test_what_else_happens_to_objects_is_told_apart(name: str, happened: Happened) -> None:
    """Deletions are one kind; all that neither creates nor deletes is another."""
    assert [each.happened for each in events(records(record(name)))] == [happened]


@pytest.mark.parametrize(
    ("kind", "happened"),
    [("Object Deleted", Happened.DELETED), ("Object Tags Added", Happened.OTHER), ("", Happened.OTHER)],
)
def test_event_bridge_has_other_names_for_them(kind: str, happened: Happened) -> None:
    """They are told apart alike."""
    assert [each.happened for each in events(bridged(kind))] == [happened]


@pytest.mark.parametrize("wrap", [str, enveloped])
def test_the_test_event_is_known(wrap: Any) -> None:
    """S3 sends one whenever a bucket's notifications are set up."""
    body = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "orchard", "RequestId": "1"})
    assert events(wrap(body)) == [Event(Happened.TEST, "orchard", "")]


def test_a_message_carries_any_number_of_events() -> None:
    """They keep their order; a message without any tells nothing, and is understood."""
    keys = ["a.jpg", "b.jpg", "a.jpg"]
    assert [each.key for each in events(records(*[record(key=key) for key in keys]))] == keys
    assert events(records()) == []


@given(st.text(min_size=1, max_size=200).filter(lambda key: len(quote_plus(key, errors="replace")) <= 1024))
def test_every_key_survives_its_encoding(key: str) -> None:
    """Blanks, plus signs, percent signs and any script come out as they went in, by either way."""
    try:
        encoded = quote_plus(key)
    except UnicodeEncodeError:
        return
    assert [each.key for each in events(records(record(key=encoded)))] == [key]
    assert [each.key for each in events(bridged(key=key))] == [key]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "not JSON"),
        ("apple", "not JSON"),
        ("[]", "no JSON object"),
        ("1" * 5000, "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a":' * 100_000, "not JSON"),
        (" " * (1 << 20) + "{}", "more than a queue takes"),
        ("{}", "neither Records nor"),
        ('{"Records": 1}', "neither Records nor"),
        (records(1), "a record is missing, or no JSON object"),
        (records(record(), {}), "eventName is missing"),
        (records({"eventName": "ObjectCreated:Put"}), "s3 is missing"),
        (records(record(bucket=5)), "name is missing, or no text"),  # type: ignore[arg-type]
        (records(record(key="")), "key is empty"),
        (records(record(key="a" * 1025)), "longer than 1024 bytes"),
        (records(record(key="%ff.jpg")), "not UTF-8"),
        (records(record(key="\ud800")), "no text"),
        (bridged(key="\ud800"), "no text"),
        (bridged(key=None), "key is missing"),
        (bridged(source="aws.ec2"), "does not come from S3"),
        (enveloped(1), "Message is missing, or no text"),
        (enveloped("apple"), "not JSON"),
        (enveloped(enveloped(records(record()))), "neither Records nor"),
        (json.dumps({"Type": "SubscriptionConfirmation", "Message": "…"}), "neither Records nor"),
        (json.dumps({"Event": "s3:TestEvent"}), "Bucket is missing"),
    ],
)
def test_what_is_of_no_known_form_is_refused_with_the_reason(body: str, why: str) -> None:
    """The reason is one short line of ASCII, whatever the message holds."""
    with pytest.raises(NotUnderstood, match=why) as refused:
        events(body)
    assert len(str(refused.value)) < 300
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()


@given(TEXT | JSON.map(json.dumps))
@example('{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"%"}}}]}')
def test_no_message_is_more_than_not_understood(body: str) -> None:
    """Whatever lies in the queue, it is either events or refused: nothing else is raised."""
    _try(body)


@given(st.data())
def test_no_damage_to_a_message_is_more_than_not_understood(data: st.DataObject) -> None:
    """Any one part of a true message is replaced by any JSON."""
    body = data.draw(st.sampled_from([records(record()), bridged(), enveloped(records(record()))]))
    message = json.loads(body)
    _damage(message, data)
    _try(json.dumps(message))


def _damage(part: Any, data: st.DataObject) -> None:
    while True:
        at = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        inner = part[at]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            part[at] = data.draw(JSON)
            return
        part = inner


def _try(body: str) -> None:
    try:
        told = events(body)
    except NotUnderstood:
        return
    assert all(isinstance(each, Event) for each in told)
