"""Links to pictures that hold for some time."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from conf import access
from conf.access import Access
from conf.errors import UsageError
from conf.presigning import duration, presign
from conf.redaction import redacted

KEY = "bm9ib2R5IGtub3dzIHRoaXMga2V5"


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Have credentials that do not end."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret-of-somebody",
        "AWS_CONFIG_FILE": f"{tmp_path}/none",
        "AWS_SHARED_CREDENTIALS_FILE": f"{tmp_path}/none",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@pytest.fixture
def _amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Speak with Amazon's own S3, of a region that was told: no request is needed."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    access.use(Access(region="eu-central-1"))
    yield
    access.use(Access())


class TestDurations:
    """How long, as a person says it."""

    @pytest.mark.parametrize(
        ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("1d", 86400), ("7d", 604800), (" 1m ", 60)]
    )
    def test_a_number_and_a_unit(self, text: str, seconds: int) -> None:
        """Seconds, minutes, hours or days."""
        assert duration(text) == seconds

    @pytest.mark.parametrize("text", ["", "1", "d", "1w", "-1d", "1.5h", "0s", "1d12h", "\u0663d", "1D"])
    def test_anything_else_is_refused(self, text: str) -> None:
        """The message shows how it is said."""
        with pytest.raises(UsageError, match=r"^--links .*: say how long as 90s, 30m, 12h or 1d"):
            duration(text)

    @pytest.mark.parametrize("text", ["8d", "169h", "604801s", "999999999d"])
    def test_no_link_holds_longer_than_a_week(self, text: str) -> None:
        """It is the limit of the signature, and the message says so."""
        with pytest.raises(UsageError, match=f"--until {text}: 7d is the longest that S3"):
            duration(text, "until")


class TestLinks:
    """By uri."""

    @pytest.mark.usefixtures("_amazon")
    def test_an_object_gets_a_signed_url(self) -> None:
        """Of its bucket's region, its key encoded once, and as long as asked for."""
        uri = "s3://pictures/Apple%201/%C3%BC%2B.jpg"
        links = presign([uri], 3600)
        found = urlsplit(links.urls[uri])
        assert (found.scheme, found.netloc) == ("https", "pictures.s3.eu-central-1.amazonaws.com")
        assert found.path == "/Apple%201/%C3%BC%2B.jpg"
        query = parse_qs(found.query)
        assert query["X-Amz-Expires"] == ["3600"]
        assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
        assert "/eu-central-1/s3/aws4_request" in query["X-Amz-Credential"][0]
        assert links.notes == ()

    @pytest.mark.usefixtures("_amazon")
    def test_a_bucket_whose_name_holds_a_dot(self) -> None:
        """It stands in the path: no certificate is for such a host."""
        links = presign(["s3://my.pictures/a.jpg"], 60)
        (url,) = links.urls.values()
        assert url.startswith("https://s3.eu-central-1.amazonaws.com/my.pictures/a.jpg?")

    def test_another_service_is_addressed_by_its_endpoint(self) -> None:
        """By path, as one that speaks S3 need not have names for buckets; nobody is asked anything."""
        uri = "s3://pictures/a.jpg"
        assert presign([uri], 60).urls[uri].startswith("http://127.0.0.1:9/pictures/a.jpg?X-Amz-Algorithm=")

    @pytest.mark.usefixtures("_amazon")
    def test_who_pays_and_who_need_not_sign(self) -> None:
        """A requester who pays says so in the link; a public bucket's is plain, and needs no credentials."""
        uri = "s3://pictures/a.jpg"
        paying = presign([uri], 60, Access(region="eu-central-1", whose="requester-pays")).urls[uri]
        query = parse_qs(urlsplit(paying).query)
        assert (query["x-amz-request-payer"], query["X-Amz-SignedHeaders"]) == (["requester"], ["host"])
        public = presign([uri], 60, Access(region="eu-central-1", whose="anonymous"))
        assert public.urls[uri] == "https://pictures.s3.eu-central-1.amazonaws.com/a.jpg"

    def test_files_link_to_themselves(self) -> None:
        """What no browser can open gets no link."""
        assert presign(["file:///a/b%20c.jpg", "hdfs://x/y"], 60).urls == {"file:///a/b%20c.jpg": "file:///a/b%20c.jpg"}

    def test_azure_is_signed_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By the account's key."""
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "somebody")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
        uri = "az://pictures/a%20b.jpg"
        found = urlsplit(presign([uri], 3600).urls[uri])
        assert (found.netloc, found.path) == ("somebody.blob.core.windows.net", "/pictures/a%20b.jpg")
        assert "sig" in parse_qs(found.query)

    def test_many_are_signed_in_a_moment(self) -> None:
        """No request is made for any: thousands take a second or two."""
        uris = [f"s3://pictures/{number}.jpg" for number in range(2000)]
        start = time.monotonic()
        assert len(presign(uris, 60).urls) == 2000
        assert time.monotonic() - start < 10


class TestCredentials:
    """A link ends with the credentials that signed it."""

    URIS = ("s3://pictures/a.jpg",)

    def test_without_any_it_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In one line that says where they are looked for."""
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(UsageError, match=r"^s3://pictures: .*credentials.*AWS_PROFILE"):
            presign(self.URIS, 60)

    def test_those_of_unknown_length_are_told_of(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A session's token says that they end, and not when."""
        monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-a-session")
        assert presign(self.URIS, 60).notes == (
            "the credentials are temporary, of a role or a login: the links end with them, whatever was asked for",
        )
        assert presign(["file:///a"], 60).notes == ()

    @pytest.mark.parametrize(("hours", "told"), [(1, True), (48, False)])
    def test_those_that_end_too_early_are_told_of(
        self, monkeypatch: pytest.MonkeyPatch, hours: int, told: bool
    ) -> None:
        """With the moment; nothing is said where they outlast the links."""
        end = datetime.now(UTC) + timedelta(hours=hours)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-a-session")
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end.isoformat())
        notes = presign(self.URIS, 86400).notes
        said = f"the links end with the credentials, at {end:%Y-%m-%d %H:%M} UTC, earlier than asked for"
        assert notes == ((said,) if told else ())


def test_a_link_is_not_shown() -> None:
    """Neither by its value, nor where one gets into a message."""
    links = presign(["s3://pictures/a.jpg"], 60)
    assert "X-Amz" not in repr(links)
    (url,) = links.urls.values()
    assert parse_qs(urlsplit(url).query)["X-Amz-Signature"][0] not in redacted(f"cannot open {url}")
