"""A landing in a bucket is listed page by page, whatever the names in it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import obstore
import pytest
from obstore.store import MemoryStore

from conf import access
from conf.access import Access
from conf.errors import DeniedError, LandingError, StorageError
from conf.retrying import RETRIED
from conf.uris import key_of
from streaming.discovery import buckets
from streaming.discovery.buckets import Listed, ObjectListing, pages_of
from streaming.discovery.sighting import Found
from streaming.landing import parse_skip
from tests.storage.answering import Answer, Request, answering, page, refusal
from tests.storage.cloud import Cloud
from tests.storage.proxy import FaultProxy, Faults
from tests.unit.lakes import MORNING

STRANGE = [
    "plain.jpg",
    "no extension",
    "Apple/ü ö.jpg",
    "a%20b+c&d.jpg",
    "double//slash.jpg",
    "/leading.jpg",
    "tab\tinside.jpg",
    "emoji 🍎.jpg",
    "quote'\"<&>.jpg",
]


def listing(landing: str, way: Access | None = None) -> ObjectListing:
    """List a landing."""
    return ObjectListing(landing, parse_skip("txt"), pages_of(landing, way or access.current()))


def names(found: Iterator[Found], prefix: str = "in/") -> list[str]:
    """Give what follows the prefix in the keys, in their order."""
    return [key_of(each.uri).removeprefix(prefix) for each in found]


def put(aws: Cloud, *keys: str) -> str:
    """Put objects into a bucket of their own; give its name."""
    bucket = aws.bucket()
    aws.put(bucket, dict.fromkeys(keys, b"bytes"))
    return bucket


class TestS3:
    """The listing of a bucket of S3."""

    def test_every_name_comes_once_from_all_pages(self, aws: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also names that obstore cannot tell, and wherever one page ends and the next begins."""
        bucket = put(aws, *(f"in/{name}" for name in STRANGE))
        for size in (1, 2, 1000):
            monkeypatch.setattr(buckets, "_PAGE", size)
            found = names(listing(f"s3://{bucket}/in").poll())
            assert sorted(found) == sorted(STRANGE)

    def test_a_picture_is_told_with_its_version(self, aws: Cloud) -> None:
        """URI, e_tag without quotes, size, and the time in whole seconds, as asking for the object gives it."""
        bucket = put(aws, "in/red apple.jpg")
        (found,) = listing(f"s3://{bucket}/in").poll()
        head = aws.client("s3").head_object(Bucket=bucket, Key="in/red apple.jpg")
        assert found == Found(
            f"s3://{bucket}/in/red%20apple.jpg", head["ETag"].strip('"'), head["LastModified"], head["ContentLength"]
        )

    def test_what_is_no_picture_is_counted(self, aws: Cloud) -> None:
        """By why; the counts are those of the last listing alone."""
        bucket = put(aws, "in/a.jpg", "in/.b/a.jpg", "in/_temporary/a.jpg", "in/b.tmp", "in/c.TXT", "in/d/", "in/")
        landing = listing(f"s3://{bucket}/in")
        for _ in range(2):
            assert names(landing.poll()) == ["a.jpg"]
            passed_over = landing.sighting().passed_over
            assert passed_over == {"hidden": 2, "temporary": 1, "skipped": 1, "folder_marker": 2}

    def test_a_folder_whose_name_begins_like_the_landings_is_another(self, aws: Cloud) -> None:
        """Nor is an object of the landing's own name below it."""
        bucket = put(aws, "in/a.jpg", "in-2/b.jpg", "in.jpg", "in")
        landing = listing(f"s3://{bucket}/in")
        assert names(landing.poll()) == ["a.jpg"]
        assert landing.sighting().passed_over == {}

    def test_a_landing_may_be_a_whole_bucket(self, aws: Cloud) -> None:
        """Every key of it counts."""
        bucket = put(aws, "a.jpg", "b/c.jpg", ".d/e.jpg")
        landing = listing(f"s3://{bucket}")
        assert [each.uri for each in landing.poll()] == [f"s3://{bucket}/a.jpg", f"s3://{bucket}/b/c.jpg"]
        assert landing.sighting().passed_over == {"hidden": 1}

    def test_a_landings_name_may_be_strange(self, aws: Cloud) -> None:
        """It is given as the tables spell it."""
        bucket = put(aws, "in+ü %41/a.jpg")
        found = [each.uri for each in listing(f"s3://{bucket}/in%2B%C3%BC%20%2541").poll()]
        assert found == [f"s3://{bucket}/in%2B%C3%BC%20%2541/a.jpg"]

    def test_a_landing_within_a_hidden_folder_is_listed(self, aws: Cloud) -> None:
        """Only what lies below it is judged by its name."""
        bucket = put(aws, ".cache/in/a.jpg", ".cache/in/.b/c.jpg")
        assert names(listing(f"s3://{bucket}/.cache/in").poll(), ".cache/in/") == ["a.jpg"]

    def test_an_empty_landing_has_no_pictures(self, aws: Cloud) -> None:
        """It is no error: they are yet to come."""
        assert list(listing(f"s3://{aws.bucket()}/in").poll()) == []

    def test_a_page_is_asked_for_when_it_is_needed(
        self, proxied: Cloud, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever stops early has not paid for the rest."""
        monkeypatch.setattr(buckets, "_PAGE", 2)
        bucket = put(proxied, *(f"in/{number}.jpg" for number in range(8)))
        before = proxy.counts()["requests"]
        assert names(islice(listing(f"s3://{bucket}/in").poll(), 3)) == ["0.jpg", "1.jpg", "2.jpg"]
        assert proxy.counts()["requests"] - before == 2

    def test_a_listing_outlasts_troubles(
        self, proxied: Cloud, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each page is asked for again, and counted; no name is lost or told twice."""
        monkeypatch.setattr(buckets, "_PAGE", 2)
        monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
        expected = [f"{number}.jpg" for number in range(8)]
        bucket = put(proxied, *(f"in/{name}" for name in expected))
        RETRIED.taken()
        proxy.set(Faults(share=0.4, kinds=("slow_down", "internal_error", "reset"), seed=5))
        assert names(listing(f"s3://{bucket}/in").poll()) == expected
        assert RETRIED.taken()["s3"] > 0


class TestRefusals:
    """What cannot be listed is said, with the mend."""

    def test_a_bucket_that_is_not_there(self, aws: Cloud) -> None:
        """Somebody has to make it, or mistyped."""
        with pytest.raises(LandingError, match=r"s3://no-such-bucket does not exist .*make the bucket or correct"):
            list(listing("s3://no-such-bucket/in").poll())

    def test_a_bucket_that_may_not_be_listed(self, aws: Cloud) -> None:
        """Which permission lacks, and what serves for a public one."""
        with (
            answering(lambda request: refusal(403, "AccessDenied")) as way,
            pytest.raises(DeniedError, match=r"AccessDenied: says the store\): grant s3:ListBucket .*, or say --"),
        ):
            list(listing("s3://bucket/in", way).poll())

    def test_a_store_that_refuses_otherwise(self, aws: Cloud) -> None:
        """In its own words; it may be gone tomorrow."""
        with (
            answering(lambda request: refusal(400, "RequestTimeTooSkewed")) as way,
            pytest.raises(StorageError, match="s3://bucket cannot be listed: RequestTimeTooSkewed: says the store"),
        ):
            list(listing("s3://bucket/in", way).poll())

    def test_a_store_that_does_not_answer(self, aws: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        """After the tries that a client makes."""
        monkeypatch.setattr(access, "_BOTO_TRIES", 1)
        with pytest.raises(StorageError, match="s3://bucket does not answer"):
            list(listing("s3://bucket/in", Access("http://127.0.0.1:9", "us-east-1")).poll())


@pytest.mark.parametrize(
    ("whose", "signed", "pays"), [("own", True, False), ("anonymous", False, False), ("requester-pays", True, True)]
)
def test_who_asks_and_who_pays(whose: access.Whose, signed: bool, pays: bool, aws: Cloud) -> None:
    """Only what is one's own is signed, and only a requester that says so pays."""
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        return page("in/a.jpg")

    with answering(answer) as way:
        assert names(listing("s3://bucket/in", Access(way.endpoint, way.region, whose)).poll()) == ["a.jpg"]
    (request,) = asked
    assert ("authorization" in request.headers) == signed
    assert request.headers.get("x-amz-request-payer") == ("requester" if pays else None)


class TestOthers:
    """Google's and Azure's are listed by obstore; here its store in memory stands for theirs."""

    @pytest.fixture
    def memory(self, monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
        """Let every bucket be one in memory."""
        store = MemoryStore()
        monkeypatch.setattr(access, "store", lambda scheme, bucket, way: store)
        return store

    @pytest.mark.parametrize("scheme", ["gs", "az"])
    def test_every_name_comes_once_from_all_pages(
        self, scheme: str, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of S3: with its scheme, encoded, counted where it is no picture, and no neighbour's."""
        monkeypatch.setattr(buckets, "_PAGE", 2)
        pictures = ["in/a%20b+c.jpg", "in/d/e.jpg", "in/ü 🍎.jpg"]
        for key in [*pictures, "in/.f/g.jpg", "in/h.txt", "in-2/i.jpg"]:
            obstore.put(memory, key, b"bytes")
        landing = listing(f"{scheme}://bucket/in")
        found = list(landing.poll())
        assert sorted(key_of(each.uri) for each in found) == sorted(pictures)
        assert {each.uri.partition("://")[0] for each in found} == {scheme}
        assert landing.sighting().passed_over == {"hidden": 1, "skipped": 1}

    def test_a_picture_is_told_with_its_version(self, memory: MemoryStore) -> None:
        """The e_tag is the one that a condition compares."""
        put_as = obstore.put(memory, "in/a.jpg", b"bytes")["e_tag"]
        (found,) = listing("gs://bucket/in").poll()
        assert (found.uri, found.size) == ("gs://bucket/in/a.jpg", 5)
        assert found.e_tag == str(put_as).strip('"')
        assert found.landed_at.microsecond == 0
        assert datetime.now(UTC) - found.landed_at < timedelta(minutes=1)


def test_the_same_version_is_told_the_same_by_any_clock() -> None:
    """A listing gives milliseconds, and quotes around the ETag, where other answers give neither."""
    listed = Listed("in/a.jpg", '"etag"', MORNING + timedelta(milliseconds=999), 3)
    assert buckets.found("s3", "bucket", listed) == Found("s3://bucket/in/a.jpg", "etag", MORNING, 3)
