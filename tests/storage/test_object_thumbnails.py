"""Thumbnails of pictures in a bucket."""

from collections import Counter

import pytest

from conf.settings import Settings
from streaming.fetching import Wanted
from streaming.thumbnails import thumbnails
from tests.storage.cloud import Cloud
from tests.unit.pictures import FILES


def landed(aws: Cloud, bucket: str) -> list[Wanted]:
    """Put pictures into a bucket, and return their versions."""
    aws.put(bucket, {f"in/{number}.png": FILES["png"] for number in range(6)})
    listed = aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    return [Wanted(f"s3://{bucket}/{each['Key']}", each["ETag"].strip('"'), each["Size"]) for each in listed]


@pytest.mark.parametrize("known", [True, False])
def test_only_the_version_that_arrived_is_shown(aws: Cloud, known: bool) -> None:
    """What lies there by now instead is left out, and so is what was deleted; whether the landing is known or not."""
    bucket = aws.bucket()
    pictures = landed(aws, bucket)
    aws.put(bucket, {"in/0.png": FILES["gif"]})
    aws.client("s3").delete_object(Bucket=bucket, Key="in/1.png")
    made = thumbnails(Settings(landing=f"s3a://{bucket}/in/" if known else ""), pictures)
    assert set(made.pictures) == {each.uri for each in pictures[2:]}
    assert made.missing == Counter(changed=1, gone=1)


def test_a_bucket_that_is_not_there(aws: Cloud) -> None:
    """Nothing is raised: the note tells."""
    made = thumbnails(Settings(), [Wanted("s3://nobodys-bucket/x.png", "1", 1)])
    assert made.pictures == {}
    assert made.note.startswith("1 of 1 thumbnails are missing (unread 1): s3://nobodys-bucket/x.png: ")
