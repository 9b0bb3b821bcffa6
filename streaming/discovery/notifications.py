"""What a message of the queue says: the events of S3 that it carries, however they came. Pure: a text in, events out.

S3 writes to a queue itself, through a topic of SNS (as it is, or wrapped in SNS's envelope), or through EventBridge,
which may go through a topic as well. Forms: Amazon S3 User Guide, "Event message structure" (versions 2.x; keys are
form-encoded) and "Using EventBridge" (keys are as they are).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import unquote_to_bytes

# The most that a queue of SQS takes, and the longest key of S3.
_MOST_BYTES = 1 << 20
_MOST_KEY_BYTES = 1024
_TEST = "s3:TestEvent"


class NotUnderstood(ValueError):
    """The message is of none of the known forms; the text says why, in plain ASCII."""


class Happened(Enum):
    """What an event tells of an object; the values name what is passed over in a sighting."""

    CREATED = "created"
    DELETED = "deletion"
    OTHER = "other_event"
    TEST = "test_event"


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes
    ----------
    happened : Happened
        What.
    bucket : str
        Where.
    key : str
        To which object, decoded; empty for a test.
    e_tag : str
        Of the version that was created, without quotes; empty where the event does not tell.
    """

    happened: Happened
    bucket: str
    key: str
    e_tag: str = ""


def events(body: str) -> list[Event]:
    """Return the events that a message carries, in their order.

    Parameters
    ----------
    body
        Of one message of SQS.

    Raises
    ------
    NotUnderstood
        It is anything else than events of S3 in one of the known forms; no body makes this raise anything else.
    """
    message = _object(body)
    if message.get("Type") == "Notification" and "Message" in message:
        message = _object(_text(message, "Message"))
    if message.get("Event") == _TEST:
        return [Event(Happened.TEST, _text(message, "Bucket"), "")]
    if "detail-type" in message:
        return [_of_event_bridge(message)]
    records = message.get("Records")
    if not isinstance(records, list):
        raise NotUnderstood("it is no notification of S3: it has neither Records nor a detail-type")
    return [_of_record(record) for record in records]


def _object(text: str) -> Mapping[str, Any]:
    if len(text) > _MOST_BYTES:
        raise NotUnderstood(f"it has {len(text)} characters, more than a queue takes")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(f"it is not JSON: {ascii(str(error))[1:-1]:.200}") from None
    return _mapping(value, "it")


def _of_event_bridge(message: Mapping[str, Any]) -> Event:
    if message.get("source") != "aws.s3":
        raise NotUnderstood("it is an event of EventBridge that does not come from S3")
    kinds = {"Object Created": Happened.CREATED, "Object Deleted": Happened.DELETED}
    happened = kinds.get(_text(message, "detail-type"), Happened.OTHER)
    detail = _mapping(message.get("detail"), "detail")
    return _event(happened, detail, "etag", lambda key: key)


def _of_record(record: object) -> Event:
    fields = _mapping(record, "a record")
    kind = _text(fields, "eventName").removeprefix("s3:").partition(":")[0]
    kinds = {"ObjectCreated": Happened.CREATED}
    kinds |= dict.fromkeys(("ObjectRemoved", "LifecycleExpiration"), Happened.DELETED)
    return _event(kinds.get(kind, Happened.OTHER), _mapping(fields.get("s3"), "s3"), "eTag", _decoded)


def _event(happened: Happened, said: Mapping[str, Any], e_tag: str, decoded: Callable[[str], str]) -> Event:
    bucket, told = (_mapping(said.get(name), name) for name in ("bucket", "object"))
    key = decoded(_text(told, "key"))
    if not 0 < len(_bytes(key)) <= _MOST_KEY_BYTES:
        raise NotUnderstood(f"its key is empty or longer than {_MOST_KEY_BYTES} bytes")
    return Event(happened, _text(bucket, "name"), key, str(told.get(e_tag) or "").strip('"'))


def _decoded(key: str) -> str:
    try:
        return unquote_to_bytes(_bytes(key.replace("+", " "))).decode()
    except UnicodeDecodeError:
        raise NotUnderstood(f"its key is not UTF-8: {key!a:.200}") from None


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON can spell and UTF-8 cannot.
        raise NotUnderstood(f"its key is no text: {text!a:.200}") from None


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NotUnderstood(f"{name} is missing, or no JSON object")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise NotUnderstood(f"{name} is missing, or no text")
    return value
