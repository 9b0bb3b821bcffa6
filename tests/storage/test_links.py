"""Links and labels of objects, against the tests' cloud."""

from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from batch.own_labels import load
from conf.errors import UsageError
from conf.presigning import presign
from tests.storage.cloud import Cloud


def test_a_link_opens_its_object(aws: Cloud) -> None:
    """Without any credentials, whatever letters its key holds."""
    bucket = aws.bucket()
    keys = {"Apple 1/\u00fc+%&?.jpg": b"one", "plain.jpg": b"two"}
    aws.put(bucket, keys)
    uris = [f"s3://{bucket}/Apple%201/%C3%BC%2B%25%26%3F.jpg", f"s3://{bucket}/plain.jpg"]
    links = presign([*uris, f"s3://{bucket}/none.jpg"], 60)
    for uri, content in zip(uris, keys.values(), strict=True):
        with urlopen(links.urls[uri]) as answer:
            assert answer.read() == content
    # pytest takes a socket that nobody closed for an error.
    with pytest.raises(HTTPError, match="404") as raised:
        urlopen(links.urls[f"s3://{bucket}/none.jpg"])
    raised.value.close()


def test_labels_may_lie_in_a_bucket(aws: Cloud) -> None:
    """As the pictures do; what is not there, and a place without a bucket, are told in a line."""
    bucket = aws.bucket()
    aws.put(bucket, {"my labels/one.csv": f"uri,label\ns3a://{bucket}/a b.jpg,x\n".encode()})
    labels = load(f"s3://{bucket}/my labels/one.csv")
    assert dict(zip(labels.uris.to_pylist(), labels.labels.to_pylist(), strict=True)) == {
        f"s3://{bucket}/a%20b.jpg": "x"
    }
    with pytest.raises(UsageError, match=f"^--labels s3a://{bucket}/none.csv: there is no such file"):
        load(f"s3a://{bucket}/none.csv")
    with pytest.raises(UsageError, match="names no bucket"):
        load("s3:///x.csv")
