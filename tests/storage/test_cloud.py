import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.storage.cloud import Cloud, Wrapped


def received(cloud: Cloud, queue: str) -> list[dict[str, Any]]:
    """Receive and delete all messages of a queue; their bodies."""
    sqs, bodies = cloud.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        bodies += [json.loads(each["Body"]) for each in messages]
        for each in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=each["ReceiptHandle"])
    return bodies


def created(body: dict[str, Any]) -> list[str]:
    """Give the keys, as they are spelled there, whose creation a message tells of."""
    if body.get("detail-type") == "Object Created":
        return [body["detail"]["object"]["key"]]
    inner = json.loads(body["Message"]) if "Message" in body else body
    records = [each for each in inner.get("Records", []) if each["eventName"].startswith("ObjectCreated")]
    return [each["s3"]["object"]["key"] for each in records]


@pytest.mark.parametrize(("wrapped", "spelled"), [(None, "a+b"), ("sns", "a+b"), ("eventbridge", "a b")])
def test_queues_hear_of_what_is_created(cloud: Cloud, wrapped: Wrapped | None, spelled: str) -> None:
    """Straight or wrapped; EventBridge does not encode keys."""
    bucket = cloud.bucket()
    queue = cloud.queue_of(bucket, wrapped)
    cloud.put(bucket, {"a b": b"1"})
    assert [key for body in received(cloud, queue) for key in created(body)] == [spelled]


def test_each_queue_of_a_bucket_hears(cloud: Cloud) -> None:
    """A second queue does not replace the first."""
    bucket = cloud.bucket()
    queues = [cloud.queue_of(bucket), cloud.queue_of(bucket), cloud.queue_of(bucket, "sns")]
    cloud.put(bucket, {"a": b"1"})
    assert [[key for body in received(cloud, queue) for key in created(body)] for queue in queues] == [["a"]] * 3


def test_no_message_is_lost_between_threads(cloud: Cloud) -> None:
    """What is sent while others are deleted stays."""
    sqs, queue, found = cloud.client("sqs"), cloud.queue(), []
    with ThreadPoolExecutor(4) as threads:
        sent = [threads.submit(sqs.send_message, QueueUrl=queue, MessageBody=str(number)) for number in range(200)]
        while not all(each.done() for each in sent):
            found += received(cloud, queue)
    found += received(cloud, queue)
    assert set(map(str, found)) == set(map(str, range(200)))


def test_what_is_received_three_times_goes_to_the_dead_letters(cloud: Cloud) -> None:
    """And is counted there, no longer in the queue."""
    sqs, queue = cloud.client("sqs"), cloud.queue()
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    for _ in range(4):
        sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0)
    wanted = ["ApproximateNumberOfMessages"]
    counts = [
        sqs.get_queue_attributes(QueueUrl=each, AttributeNames=wanted)["Attributes"]["ApproximateNumberOfMessages"]
        for each in (queue, cloud.dead_letters_of(queue))
    ]
    assert counts == ["0", "1"]


def test_one_of_many_creates_a_key(cloud: Cloud) -> None:
    """Create-only writes exclude each other, as in S3."""
    s3, bucket = cloud.client("s3"), cloud.bucket()

    def create(number: int) -> str:
        try:
            s3.put_object(Bucket=bucket, Key=str(number // 8), Body=b"mine", IfNoneMatch="*")
        except ClientError as refusal:
            return str(refusal.response["Error"]["Code"])
        return "created"

    with ThreadPoolExecutor(8) as threads:
        results = Counter(threads.map(create, range(80)))
    assert results == {"created": 10, "PreconditionFailed": 70}


def test_the_environment_leads_to_this_cloud(aws: Cloud) -> None:
    """boto3 finds it without being told."""
    name = aws.bucket(versioned=True)
    found = boto3.Session().client("s3").get_bucket_versioning(Bucket=name)
    assert found["Status"] == "Enabled"
