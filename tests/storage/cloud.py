"""A cloud for the tests: S3, SQS, SNS and EventBridge by moto, in a process of its own on this machine."""

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from uuid import uuid4

import boto3
from botocore.config import Config

from tests.storage.children import child

REGION = "us-east-1"
Wrapped = Literal["sns", "eventbridge"]

_KEY_ID, _SECRET = "testing", "testing-secret"
_EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
_MOST_RECEIVED = 3
_UPLOADS = 8


@dataclass(frozen=True)
class Cloud:
    """Where the services answer, and what tests do there.

    Attributes
    ----------
    endpoint : str
        `http://127.0.0.1:PORT`, of all services. `replace(cloud, endpoint=proxy.endpoint)` is the same cloud through a
        proxy.
    """

    endpoint: str

    def client(self, service: str) -> Any:
        """Return a boto3 client, the same one each time; it may be used by several threads."""
        return _client(self.endpoint, service)

    def environment(self) -> dict[str, str]:
        """Return the environment by which boto3, obstore, delta-rs and Hadoop find this cloud, and no other."""
        return {
            "AWS_ACCESS_KEY_ID": _KEY_ID,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def bucket(self, prefix: str = "bucket", *, versioned: bool = False) -> str:
        """Create a bucket that nobody else uses and return its name."""
        name = _unique(prefix)
        self.client("s3").create_bucket(Bucket=name)
        if versioned:
            self.client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def put(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Upload objects by their keys, several at a time."""
        upload = self.client("s3").put_object
        with ThreadPoolExecutor(_UPLOADS) as threads:
            for done in [threads.submit(upload, Bucket=bucket, Key=key, Body=data) for key, data in objects.items()]:
                done.result()

    def queue(self) -> str:
        """Create a queue with a dead-letter queue behind it, for messages received three times; return its URL."""
        name = _unique("queue")
        dead = self._create_queue(f"{name}-dead")
        return self._create_queue(name, {"deadLetterTargetArn": self._arn(dead), "maxReceiveCount": _MOST_RECEIVED})

    def dead_letters_of(self, queue: str) -> str:
        """Return the URL of the dead-letter queue behind a queue."""
        found = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])
        arn = json.loads(found["Attributes"]["RedrivePolicy"])["deadLetterTargetArn"]
        return str(self.client("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"])

    def queue_of(self, bucket: str, wrapped: Wrapped | None = None) -> str:
        """Create a queue that is told of each object created or removed in a bucket, beside those that already are.

        Without EventBridge its first message is the test event of S3 (SNS hands it on), as of the real one.

        Parameters
        ----------
        bucket
            Its name.
        wrapped
            What stands between bucket and queue, and wraps the events.

        Returns
        -------
        str
            The queue's URL.
        """
        queue = self.queue()
        if wrapped == "eventbridge":
            self._rule(bucket, self._arn(queue))
            self._notify(bucket, EventBridgeConfiguration={})
        elif wrapped == "sns":
            self._notify(bucket, TopicConfigurations=[{"TopicArn": self._topic(queue), "Events": _EVENTS}])
        else:
            self._notify(bucket, QueueConfigurations=[{"QueueArn": self._arn(queue), "Events": _EVENTS}])
        return queue

    def _create_queue(self, name: str, redrive: Mapping[str, Any] | None = None) -> str:
        attributes = {"RedrivePolicy": json.dumps(redrive)} if redrive else {}
        return str(self.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def _arn(self, queue: str) -> str:
        found = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        return str(found["Attributes"]["QueueArn"])

    def _topic(self, queue: str) -> str:
        sns = self.client("sns")
        arn = str(sns.create_topic(Name=_unique("topic"))["TopicArn"])
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=self._arn(queue))
        return arn

    def _rule(self, bucket: str, queue_arn: str) -> None:
        name, events = _unique("rule"), self.client("events")
        pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": queue_arn}])

    def _notify(self, bucket: str, **more: Any) -> None:
        s3 = self.client("s3")
        wanted = s3.get_bucket_notification_configuration(Bucket=bucket)
        wanted.pop("ResponseMetadata")
        for kind, added in more.items():
            wanted[kind] = wanted[kind] + added if isinstance(added, list) and kind in wanted else added
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wanted)


@contextmanager
def running() -> Iterator[Cloud]:
    """Run a cloud for the length of a `with` block."""
    with child("tests.storage.provider") as endpoint:
        yield Cloud(endpoint)


@cache
def _client(endpoint: str, service: str) -> Any:
    settled = Config(s3={"addressing_style": "path"}, max_pool_connections=4 * _UPLOADS)
    keys = {"aws_access_key_id": _KEY_ID, "aws_secret_access_key": _SECRET}
    # A session of its own: boto3's default one may not be used by several threads at once.
    return boto3.Session(**keys, region_name=REGION).client(service, endpoint_url=endpoint, config=settled)


def _unique(prefix: str) -> str:
    return f"{prefix}-{uuid4().hex[:12]}"
