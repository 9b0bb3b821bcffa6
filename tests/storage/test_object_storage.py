import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from conf.access import Access
from conf.errors import DeniedError, OutageError, Rejected, StorageError
from conf.object_storage import ObjectStorage
from conf.rejections import Reason
from conf.retrying import RETRIED
from conf.uris import object_uri
from streaming.fetching import Fetcher, Wanted
from tests.storage.answering import Answer, Request, answering, page, refusal
from tests.storage.cloud import Cloud
from tests.storage.proxy import Faults, proxying

LIMIT = 1000
PICTURE = Answer(body=b"picture", e_tag='"tag"')
URI = "s3://bucket/landing/1.jpg"
WANTED = Wanted(URI, "tag", 7)
DENIED = refusal(403, "AccessDenied", "Access Denied")


class Bucket:
    """A bucket of the cloud with a landing in it."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.name = cloud.bucket()
        self.storage = ObjectStorage(f"s3://{self.name}/landing", Access(endpoint=cloud.endpoint))

    def put(self, content: bytes, key: str = "landing/1.jpg") -> Wanted:
        """Put a picture and give its arrival."""
        done = self.cloud.client("s3").put_object(Bucket=self.name, Key=key, Body=content)
        return Wanted(object_uri("s3", self.name, key), done["ETag"].strip('"'), len(content))

    def delete(self, key: str = "landing/1.jpg") -> None:
        """Delete a picture."""
        self.cloud.client("s3").delete_object(Bucket=self.name, Key=key)


@pytest.fixture
def bucket(aws: Cloud) -> Bucket:
    """Make a bucket."""
    return Bucket(aws)


def rejected(storage: ObjectStorage, wanted: Wanted, limit: int = LIMIT) -> tuple[Reason, str]:
    """Read a picture that is rejected; give the reason and the detail."""
    with pytest.raises(Rejected) as caught:
        storage.read(*wanted, limit)
    return caught.value.reason, caught.value.detail


class TestCloud:
    """What S3 answers, by its emulator."""

    def test_the_bytes_of_the_version_that_arrived(self, bucket: Bucket) -> None:
        """An object that lies as it arrived is read whole, also by a storage that travelled."""
        wanted = bucket.put(b"picture")
        assert pickle.loads(pickle.dumps(bucket.storage)).read(*wanted, LIMIT) == b"picture"

    @pytest.mark.parametrize("key", ["a b%41#?é+&.jpg", "~x;=@:,$!*'()", "😀/…/.jpg", "a%2Fb", '"<>|\\^`{}[]'])
    def test_any_key_is_read(self, key: str, bucket: Bucket) -> None:
        """A URI leads back to the object."""
        assert bucket.storage.read(*bucket.put(b"picture", f"landing/{key}"), LIMIT) == b"picture"

    def test_an_empty_object_is_read(self, bucket: Bucket) -> None:
        """No bytes are bytes too: the decoder says what is wrong with them."""
        assert bucket.storage.read(*bucket.put(b""), LIMIT) == b""

    def test_an_object_that_was_deleted_is_gone(self, bucket: Bucket) -> None:
        """The store says so."""
        wanted = bucket.put(b"picture")
        bucket.delete()
        reason, detail = rejected(bucket.storage, wanted)
        assert reason is Reason.GONE
        assert detail.startswith("NoSuchKey")

    def test_another_version_is_changed(self, bucket: Bucket) -> None:
        """The store is asked for the version that arrived and for no other."""
        wanted = bucket.put(b"picture")
        bucket.put(b"another")
        assert rejected(bucket.storage, wanted)[0] is Reason.CHANGED

    def test_the_byte_limit_is_the_most_that_is_read(self, bucket: Bucket) -> None:
        """As many bytes as the limit are read, one more is rejected."""
        wanted = bucket.put(b"picture")
        assert bucket.storage.read(*wanted, 7) == b"picture"
        assert rejected(bucket.storage, wanted, 6) == (Reason.TOO_MANY_BYTES, "7 bytes, the limit is 6")

    @pytest.mark.parametrize("key", ["a//1.jpg", "a/../1.jpg", "./1.jpg", "a\x01.jpg", "a/"])
    def test_a_key_that_the_client_cannot_name_is_unaddressable(self, key: str, bucket: Bucket) -> None:
        """S3 takes any key; the detail shows it, control characters and all."""
        wanted = Wanted(object_uri("s3", bucket.name, f"landing/{key}"), "tag", 7)
        assert rejected(bucket.storage, wanted) == (Reason.UNADDRESSABLE, repr(f"landing/{key}"))

    def test_a_bucket_that_is_gone_takes_no_picture_with_it(self, bucket: Bucket) -> None:
        """It is the world's fault."""
        wanted = bucket.put(b"picture")
        bucket.delete()
        bucket.cloud.client("s3").delete_bucket(Bucket=bucket.name)
        with pytest.raises(StorageError, match="no such bucket"):
            bucket.storage.read(*wanted, LIMIT)

    def test_a_store_that_fails_often_loses_and_rejects_nothing(self, bucket: Bucket) -> None:
        """One call in four breaks, is throttled, cut short or tells a wrong version: all pictures come, in order."""
        wanted = [bucket.put(f"picture {number}".encode() * 9, f"landing/{number}.jpg") for number in range(60)]
        RETRIED.taken()
        with proxying(bucket.cloud.endpoint, Faults(share=0.25, latency=0.005)) as proxy:
            storage = ObjectStorage(f"s3://{bucket.name}/landing", Access(endpoint=proxy.endpoint))
            with Fetcher(storage, LIMIT) as fetcher:
                got = list(fetcher.fetched(wanted))
        assert [content for _, content in got] == [f"picture {number}".encode() * 9 for number in range(60)]
        assert RETRIED.taken()["fetch"] > 5


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process credentials, which the answering store does not look at."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def read(script: Callable[[Request], Answer], wanted: Wanted = WANTED, limit: int = LIMIT) -> bytes:
    """Read a picture of a store that answers as a script says."""
    with answering(script) as access:
        return ObjectStorage("s3://bucket/landing", access).read(*wanted, limit)


def script_of(answers: Mapping[str, Answer], otherwise: Answer = DENIED) -> Callable[[Request], Answer]:
    """Answer by the key, or `?` for a listing."""

    def answered(request: Request) -> Answer:
        path = request.line.partition(" ")[2]
        return answers.get("?" if "?" in path else path.removeprefix("/bucket/"), otherwise)

    return answered


@pytest.mark.usefixtures("keys")
class TestAnswers:
    """What stores answer besides, by a script."""

    @pytest.mark.parametrize(
        "answer",
        [
            refusal(500, "InternalError"),
            refusal(503, "SlowDown"),
            Answer(429),
            Answer(408),
            refusal(409, "OperationAborted"),
            Answer(0),
            Answer(body=b"pic", e_tag='"tag"', length=7),
            Answer(body=b"pic", e_tag='"tag"'),
            Answer(body=b"picture", e_tag='"other"'),
            Answer(304),
        ],
        ids=["500", "503", "429", "408", "409", "reset", "truncated", "other-size", "other-version", "304"],
    )
    def test_what_may_pass_is_an_outage(self, answer: Answer) -> None:
        """It is never a row, and is tried again; the message names the picture."""
        with pytest.raises(OutageError, match=URI):
            read(lambda _: answer)

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (400, "ExpiredToken"),
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (403, "RequestTimeTooSkewed"),
            (401, "Unauthorized"),
            (403, "AuthenticationFailed"),
        ],
    )
    def test_credentials_are_nobodys_row_and_not_tried_again_at_once(self, status: int, code: str) -> None:
        """The task fails, and the driver waits for better ones; the message says what the store says."""
        with pytest.raises(StorageError, match=f"expired or wrong: {code}: says the store") as caught:
            read(lambda _: refusal(status, code))
        assert not isinstance(caught.value, OutageError | DeniedError)
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize(
        "answer",
        [
            refusal(403, "InvalidObjectState", "The operation is not valid for the object's storage class"),
            refusal(409, "BlobArchived"),
            refusal(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption."),
        ],
        ids=["glacier", "azure", "customer-key"],
    )
    def test_an_archived_object_is_forbidden_until_it_is_restored(self, answer: Answer) -> None:
        """It is the picture's own fault, and another attempt can end differently."""
        with pytest.raises(Rejected, match="it is archived, or encrypted with a key that was not given") as caught:
            read(lambda _: answer)
        assert (caught.value.reason, caught.value.reason.retriable) == (Reason.FORBIDDEN, True)

    @pytest.mark.parametrize("e_tag", ["", 'W/"tag', 'W/"tag"'])
    def test_a_version_that_cannot_be_a_condition_is_compared(self, e_tag: str) -> None:
        """A weak e_tag never matches a condition; the answer's own, and its size, tell."""
        asked: list[Request] = []

        def script(request: Request) -> Answer:
            asked.append(request)
            return replace(PICTURE, e_tag='W/"tag"')

        assert read(script, Wanted(URI, e_tag, 7)) == b"picture"
        assert "if-match" not in asked[0].headers
        with pytest.raises(Rejected, match=r"arrived as \w* of 8 bytes, now tag of 7") as caught:
            read(script, Wanted(URI, e_tag, 8))
        assert caught.value.reason is Reason.CHANGED

    def test_the_version_is_a_condition_with_its_quotes(self) -> None:
        """The tables hold it without."""
        asked: list[Request] = []

        def script(request: Request) -> Answer:
            asked.append(request)
            return PICTURE

        read(script)
        assert [each.headers["if-match"] for each in asked] == ['"tag"']

    def test_a_landing_without_credentials_is_read_without_a_signature(self) -> None:
        """Public data sets need no account."""
        asked: list[Request] = []

        def script(request: Request) -> Answer:
            asked.append(request)
            return PICTURE

        with answering(script) as access:
            storage = ObjectStorage("s3://bucket/landing", replace(access, whose="anonymous"))
            assert storage.read(URI, "tag", 7, LIMIT) == b"picture"
        assert "authorization" not in asked[0].headers


@pytest.mark.usefixtures("keys")
class TestPermission:
    """Whether one picture may not be read, or none."""

    def test_a_picture_that_may_not_be_read_is_forbidden(self) -> None:
        """Another one of the listing may."""
        script = script_of({"?": page("landing/0.jpg", "landing/1.jpg"), "landing/0.jpg": PICTURE})
        with pytest.raises(Rejected, match="AccessDenied: Access Denied") as caught:
            read(script)
        assert caught.value.reason is Reason.FORBIDDEN

    @pytest.mark.parametrize(
        "listing",
        [page(), page("landing/1.jpg", "landing//2.jpg")],
        ids=["empty", "unaddressable-among-them"],
    )
    def test_a_landing_that_has_nothing_to_try_answers_by_its_listing(self, listing: Answer) -> None:
        """That it can be listed is all that can be known."""
        with pytest.raises(Rejected) as caught:
            read(script_of({"?": listing}))
        assert caught.value.reason is Reason.FORBIDDEN

    @pytest.mark.parametrize(
        ("answers", "why"),
        [({}, "AccessDenied: Access Denied"), ({"?": page("landing/0.jpg", "landing/1.jpg")}, "none of 2 objects")],
        ids=["no-list", "no-get"],
    )
    def test_a_landing_that_may_not_be_read_is_denied(self, answers: dict[str, Answer], why: str) -> None:
        """A role that may not list, and one that may list and not get: somebody has to grant it."""
        with pytest.raises(DeniedError, match=f"s3://bucket/landing may not be read: {why}.*grant") as caught:
            read(script_of(answers))
        assert caught.value.__suppress_context__

    def test_the_last_picture_that_was_read_is_the_first_to_be_asked(self) -> None:
        """No listing is needed; where its permission went too, nothing may be read any more."""
        answers = {"landing/0.jpg": PICTURE}
        with answering(script_of(answers)) as access:
            storage = ObjectStorage("s3://bucket/landing", access)
            storage.read("s3://bucket/landing/0.jpg", "tag", 7, LIMIT)
            with pytest.raises(Rejected):
                storage.read(URI, "tag", 7, LIMIT)
            answers.clear()
            with pytest.raises(DeniedError):
                storage.read(URI, "tag", 7, LIMIT)

    @pytest.mark.parametrize(
        ("answer", "error"), [(refusal(503, "SlowDown"), OutageError), (refusal(400, "ExpiredToken"), StorageError)]
    )
    def test_while_the_landing_does_not_answer_nothing_is_a_pictures_fault(
        self, answer: Answer, error: type[StorageError]
    ) -> None:
        """Neither a listing nor another picture that fails says anything of this one."""
        for script in (script_of({"?": answer}), script_of({"?": page("landing/0.jpg"), "landing/0.jpg": answer})):
            with pytest.raises(error) as caught:
                read(script)
            assert type(caught.value) is error

    def test_a_404_of_who_knows_whom_is_not_believed_at_once(self) -> None:
        """Something at a wrong address calls everything missing."""
        with pytest.raises(Rejected) as caught:
            read(script_of({"?": page(), "landing/1.jpg": Answer(404)}))
        assert caught.value.reason is Reason.GONE
        with pytest.raises(StorageError):
            read(lambda _: Answer(404))
