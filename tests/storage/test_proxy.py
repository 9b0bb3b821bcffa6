from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from time import monotonic
from urllib.parse import urlsplit

import pytest

from tests.storage.cloud import Cloud
from tests.storage.faults import KINDS, Dice, Faults
from tests.storage.proxy import FaultProxy, proxying

BODY = bytes(range(256)) * 4
BIG = BODY * 6000
# moto asks who it is, not for a signature that fits.
SOMEBODY = {"Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260301/us-east-1/s3/aws4_request, Signature=0"}


@dataclass(frozen=True)
class Answer:
    """What a client sees of an answer."""

    status: int
    tag: str | None
    body: bytes


@pytest.fixture(scope="module")
def proxy(cloud: Cloud) -> Iterator[FaultProxy]:
    """Run one proxy for this module."""
    with proxying(cloud.endpoint) as running:
        yield running


@pytest.fixture(autouse=True)
def _harmless(proxy: FaultProxy) -> None:
    """Begin each test without faults."""
    proxy.set(Faults())


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    """Create a bucket with one object, `there`."""
    name = cloud.bucket()
    cloud.put(name, {"there": BODY})
    return name


def ask(proxy: FaultProxy, method: str, path: str, body: bytes | None = None) -> Answer:
    """Ask once, over a connection of its own, with no retries."""
    with closing(HTTPConnection(urlsplit(proxy.endpoint).netloc, timeout=20)) as connection:
        return ask_over(connection, method, path, body)


def ask_over(connection: HTTPConnection, method: str, path: str, body: bytes | None = None) -> Answer:
    """Ask over a connection."""
    connection.request(method, path, body, SOMEBODY)
    answer: HTTPResponse = connection.getresponse()
    return Answer(answer.status, answer.getheader("ETag"), answer.read())


def holds(cloud: Cloud, bucket: str, key: str) -> bool:
    """Whether a bucket holds a key, seen past the proxy."""
    return bool(cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"])


def injected(proxy: FaultProxy, before: dict[str, int]) -> dict[str, int]:
    """Give what has been injected since."""
    return {kind: number - before[kind] for kind, number in proxy.counts().items() if number - before[kind]}


def test_what_boto3_says_passes_unchanged(cloud: Cloud, proxy: FaultProxy, bucket: str) -> None:
    """Put, get, a range, head, list and delete do through the proxy what they do without."""
    s3 = replace(cloud, endpoint=proxy.endpoint).client("s3")
    tag = s3.put_object(Bucket=bucket, Key="big", Body=BIG)["ETag"]
    assert s3.head_object(Bucket=bucket, Key="big")["ContentLength"] == len(BIG)
    assert s3.get_object(Bucket=bucket, Key="big", IfMatch=tag)["Body"].read() == BIG
    assert s3.get_object(Bucket=bucket, Key="big", Range="bytes=2-4")["Body"].read() == BODY[2:5]
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix="big")["Contents"]] == ["big"]
    s3.delete_object(Bucket=bucket, Key="big")
    assert not holds(cloud, bucket, "big")


def test_multipart_uploads_pass(cloud: Cloud, proxy: FaultProxy, bucket: str) -> None:
    """A body sent in parts arrives whole."""
    s3, where = replace(cloud, endpoint=proxy.endpoint).client("s3"), {"Bucket": bucket, "Key": "parts"}
    where |= {"UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    sent = [s3.upload_part(**where, PartNumber=number, Body=BIG)["ETag"] for number in (1, 2)]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(sent, 1)]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert cloud.client("s3").get_object(Bucket=bucket, Key="parts")["Body"].read() == BIG * 2


def test_a_chunked_body_passes(cloud: Cloud, proxy: FaultProxy, bucket: str) -> None:
    """A body whose length nobody said beforehand arrives whole, and the connection goes on."""
    with closing(HTTPConnection(urlsplit(proxy.endpoint).netloc, timeout=20)) as connection:
        connection.request("PUT", f"/{bucket}/chunked", iter([BODY, BODY]), SOMEBODY, encode_chunked=True)
        assert connection.getresponse().read() == b""
        assert ask_over(connection, "GET", f"/{bucket}/chunked").body == BODY * 2


def test_one_connection_carries_many_requests(proxy: FaultProxy, bucket: str) -> None:
    """Bodiless answers, errors and injected answers leave a connection in order for the next request."""
    with closing(HTTPConnection(urlsplit(proxy.endpoint).netloc, timeout=20)) as connection:
        connection.connect()
        first = connection.sock
        assert ask_over(connection, "HEAD", f"/{bucket}/there").status == 200
        assert ask_over(connection, "GET", f"/{bucket}/nowhere").status == 404
        assert ask_over(connection, "DELETE", f"/{bucket}/nowhere").status == 204
        proxy.set(Faults(share=1, kinds=("slow_down",)))
        assert ask_over(connection, "PUT", f"/{bucket}/refused", BIG).status == 503
        assert ask_over(connection, "HEAD", f"/{bucket}/there").status == 503
        proxy.set(Faults())
        assert ask_over(connection, "GET", f"/{bucket}/there").body == BODY
        assert connection.sock is first


@pytest.mark.parametrize(
    ("kind", "status", "code"), [("slow_down", 503, b"SlowDown"), ("internal_error", 500, b"InternalError")]
)
def test_refusals_are_those_of_s3(
    cloud: Cloud, proxy: FaultProxy, bucket: str, kind: str, status: int, code: bytes
) -> None:
    """They carry S3's code, and what was asked is not done."""
    proxy.set(Faults(share=1, kinds=(kind,)))
    before = proxy.counts()
    answer = ask(proxy, "PUT", f"/{bucket}/{kind}", BODY)
    assert answer.status == status
    assert b"<Code>" + code + b"</Code>" in answer.body
    assert not holds(cloud, bucket, kind)
    assert injected(proxy, before) == {"requests": 1, kind: 1}


def test_a_reset_leaves_open_whether_the_write_was_done(cloud: Cloud, proxy: FaultProxy, bucket: str) -> None:
    """Some writes that broke have been done, some have not."""
    proxy.set(Faults(share=1, kinds=("reset",), seed=1))
    keys = [f"reset-{number}" for number in range(12)]
    for key in keys:
        with pytest.raises(ConnectionError):
            ask(proxy, "PUT", f"/{bucket}/{key}", BODY)
    assert {holds(cloud, bucket, key) for key in keys} == {True, False}


def test_a_truncated_body_ends_halfway(proxy: FaultProxy, bucket: str) -> None:
    """The head promises the whole."""
    proxy.set(Faults(share=1, kinds=("truncated",)))
    with pytest.raises(IncompleteRead) as failure:
        ask(proxy, "GET", f"/{bucket}/there")
    assert failure.value.partial == BODY[:512]
    assert failure.value.expected == len(BODY) - 512


@pytest.mark.parametrize("method", ["HEAD", "PUT"])
def test_what_has_no_body_to_truncate_is_reset(proxy: FaultProxy, bucket: str, method: str) -> None:
    """And counted as reset."""
    proxy.set(Faults(share=1, kinds=("truncated",)))
    before = proxy.counts()
    with pytest.raises(ConnectionError):
        ask(proxy, method, f"/{bucket}/there", BODY if method == "PUT" else None)
    assert injected(proxy, before) == {"requests": 1, "reset": 1}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_wrong_e_tag_is_wrong_each_time_anew(proxy: FaultProxy, bucket: str, method: str) -> None:
    """The bytes are right; two wrong tags do not confirm each other."""
    right = ask(proxy, method, f"/{bucket}/there")
    proxy.set(Faults(share=1, kinds=("etag",)))
    wrong = [ask(proxy, method, f"/{bucket}/there") for _ in range(2)]
    assert len({right.tag, *(each.tag for each in wrong)}) == 3
    assert [(each.status, each.body) for each in wrong] == [(200, right.body)] * 2


def test_what_has_no_e_tag_is_slowed_down(proxy: FaultProxy, bucket: str) -> None:
    """Writes, listings and answers that found nothing."""
    proxy.set(Faults(share=1, kinds=("etag",)))
    asked = [("PUT", f"/{bucket}/there"), ("GET", f"/{bucket}?list-type=2"), ("HEAD", f"/{bucket}/nowhere")]
    assert [ask(proxy, method, path).status for method, path in asked] == [503, 503, 503]


def test_equal_seeds_strike_the_same_requests(proxy: FaultProxy, bucket: str) -> None:
    """The second row of requests suffers what the first did; another seed's does not."""

    def row(seed: int) -> list[int]:
        proxy.set(Faults(share=0.5, kinds=("slow_down", "internal_error"), seed=seed))
        return [ask(proxy, "HEAD", f"/{bucket}/there").status for _ in range(40)]

    assert row(1) == row(1) != row(2)


def test_the_share_is_about_kept() -> None:
    """Five in a hundred suffer, each kind as often as the others."""
    dice = Dice(Faults(share=0.05, seed=1))
    kinds = [dice.roll().kind for _ in range(20_000)]
    for kind in KINDS:
        assert kinds.count(kind) == pytest.approx(200, rel=0.25)


def test_latencies_pass_at_the_same_time(proxy: FaultProxy, bucket: str) -> None:
    """Twenty requests that wait a second each wait about that long, not twenty seconds."""
    proxy.set(Faults(latency=1.0))
    begun = monotonic()
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: ask(proxy, "HEAD", f"/{bucket}/there").status, range(20)))
    assert answers == [200] * 20
    assert 1.0 <= monotonic() - begun < 15


def test_only_the_requests_concerned_suffer(proxy: FaultProxy, bucket: str) -> None:
    """`only` chooses, `spare` takes out again; both see method, path and query."""
    proxy.set(Faults(share=1, kinds=("slow_down",), only=r"^GET /[^/]+/", spare=r"mercy=1$"))
    asked = [("GET", "there"), ("HEAD", "there"), ("GET", "there?mercy=1")]
    assert [ask(proxy, method, f"/{bucket}/{rest}").status for method, rest in asked] == [503, 200, 200]


def test_a_server_that_is_gone_is_told_from_what_is_injected() -> None:
    """The answer is 502, and none of the kinds is counted."""
    with proxying("http://127.0.0.1:9") as astray:
        assert ask(astray, "GET", "/bucket/there").status == 502
        assert astray.counts() == {"requests": 1, "bad_gateway": 1} | dict.fromkeys(KINDS, 0)


@pytest.mark.parametrize("kinds", [("slowdown",), ()])
def test_unknown_kinds_are_refused(kinds: tuple[str, ...]) -> None:
    """A test that injects nothing would prove nothing."""
    with pytest.raises(ValueError, match="take some of slow_down"):
        Faults(kinds=kinds)
