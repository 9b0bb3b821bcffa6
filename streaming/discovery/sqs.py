"""A queue of SQS: messages taken by many polls at once, deleted when they are done with, and counted."""

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import urlsplit

from conf import access
from conf.access import Access
from conf.errors import DeniedError, LandingError, StorageError, UsageError, VergerError

_T = TypeVar("_T")
_BATCH = 10
_POLLS = 8
_LONGEST_WAIT = 20
_DELETE_TRIES = 3
_AMAZON = re.compile(r"\bsqs(?:-fips)?\.([a-z]{2}[a-z0-9-]+)\.(?:vpce\.)?(?:amazonaws\.com|api\.aws)")
_MISSING = ("NonExistentQueue", "QueueDoesNotExist", "InvalidAddress")
_DENIED = ("AccessDenied", "InvalidClientTokenId", "UnrecognizedClient", "SignatureDoesNotMatch", "InvalidSecurity")
_READY, _IN_FLIGHT = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"


@dataclass(frozen=True)
class Message:
    """One message as it was received.

    Attributes
    ----------
    id : str
        The same each time it comes.
    receipt : str
        What it is deleted by; another each time.
    body : str
        Its text.
    """

    id: str
    receipt: str
    body: str


class Queue:
    """One queue.

    Parameters
    ----------
    url
        Its URL.
    client
        boto3's, for SQS; `client_of` makes one.
    """

    def __init__(self, url: str, client: Any) -> None:
        self._url = url
        self._client = client
        self._threads = ThreadPoolExecutor(_POLLS, "sqs")

    def waves(self, wait: float) -> Iterator[list[Message]]:
        """Yield what is there, wave by wave, each of more polls at once; an idle queue costs one poll.

        Parameters
        ----------
        wait
            Seconds that the first poll waits for a message, up to 20.

        Raises
        ------
        LandingError, StorageError
            The queue does not exist, may not be read, or does not answer.
        """
        polls, seconds = 1, min(math.ceil(wait), _LONGEST_WAIT)
        while True:
            wave = [each for poll in self._each(self._poll, [seconds] * polls) for each in poll]
            if wave:
                yield wave
            # Most polls of a backlog come back full: what is left after this wave waits for the next round.
            if len(wave) < polls * _BATCH / 2:
                return
            polls, seconds = min(2 * polls, _POLLS), 0

    def delete(self, receipts: Iterable[str]) -> int:
        """Delete messages and return how many were left, which come again.

        Raises
        ------
        LandingError, StorageError
            As `waves`.
        """
        left = list(receipts)
        for _ in range(_DELETE_TRIES):
            if left:
                left = [each for batch in self._each(self._delete, _batches(left)) for each in batch]
        return len(left)

    def backlog(self) -> int | None:
        """Return about how many messages there are, those in flight included; None where that cannot be told."""
        try:
            return self._waiting(self._url)
        except VergerError:
            return None

    def dead_letters(self) -> int | None:
        """Return about how many messages were given up; None without a dead-letter queue, or if it cannot be told."""
        try:
            policy = self._attributes(self._url, "RedrivePolicy").get("RedrivePolicy")
            return self._waiting(self._url_of(json.loads(policy)["deadLetterTargetArn"])) if policy else None
        except VergerError:
            return None

    def _each(self, call: Callable[[_T], list[Any]], arguments: Sequence[_T]) -> list[list[Any]]:
        with _translated(self._url):
            if len(arguments) == 1:
                return [call(arguments[0])]
            return list(self._threads.map(call, arguments))

    def _poll(self, seconds: int) -> list[Message]:
        answer = self._client.receive_message(QueueUrl=self._url, MaxNumberOfMessages=_BATCH, WaitTimeSeconds=seconds)
        return [Message(each["MessageId"], each["ReceiptHandle"], each["Body"]) for each in answer.get("Messages", ())]

    def _delete(self, receipts: Sequence[str]) -> list[str]:
        entries = [{"Id": str(number), "ReceiptHandle": each} for number, each in enumerate(receipts)]
        answer = self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        return [receipts[int(each["Id"])] for each in answer.get("Failed", ())]

    def _waiting(self, url: str) -> int:
        return sum(int(each) for each in self._attributes(url, _READY, _IN_FLIGHT).values())

    def _attributes(self, url: str, *names: str) -> dict[str, str]:
        with _translated(url):
            answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        attributes: dict[str, str] = answer.get("Attributes", {})
        return attributes

    def _url_of(self, arn: str) -> str:
        *_, account, name = arn.split(":")
        with _translated(arn):
            return str(self._client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"])


def check(url: str) -> None:
    """Check that a text can be the URL of a queue.

    Raises
    ------
    UsageError
        It cannot.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or not parts.path.strip("/"):
        raise UsageError(f"--queue {url}: no URL of a queue: say https://sqs.REGION.amazonaws.com/ACCOUNT/NAME")


def client_of(url: str) -> Any:
    """Return a boto3 client for a queue, of the service that its URL names, and of the region where it is Amazon's.

    An endpoint that the environment tells (`AWS_ENDPOINT_URL_SQS`, `AWS_ENDPOINT_URL`) goes before the URL's.

    Raises
    ------
    UsageError
        It is no URL of a queue.
    """
    check(url)
    return access.client("sqs", _way_to(url), connections=_POLLS)


def _way_to(url: str) -> Access:
    told = os.environ.get("AWS_ENDPOINT_URL_SQS") or os.environ.get("AWS_ENDPOINT_URL")
    parts = urlsplit(url)
    amazon = _AMAZON.search(parts.netloc)
    return Access(endpoint="" if told else f"{parts.scheme}://{parts.netloc}", region=amazon[1] if amazon else "")


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Raise what a person can act on."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _refused(url, error.response.get("Error", {})) from error
    except BotoCoreError as error:
        raise access.unanswered(f"--queue {url}", error) from error


def _refused(url: str, said: Mapping[str, Any]) -> VergerError:
    code, message = (" ".join(str(said.get(name, "")).split()) for name in ("Code", "Message"))
    why = f"{code}: {message}"[:300]
    if any(each in code for each in _MISSING):
        return LandingError(f"--queue {url} does not exist ({why}): make the queue or correct the URL")
    if any(each in code for each in _DENIED):
        grant = "grant sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes on it"
        return DeniedError(f"--queue {url} may not be read ({why}): {grant}, and start again")
    return StorageError(f"--queue {url} does not answer: {why}")


def _batches(items: Iterable[_T]) -> list[list[_T]]:
    rest = iter(items)
    return list(iter(lambda: list(islice(rest, _BATCH)), []))
