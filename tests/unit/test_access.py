"""One way to object stores for every library; nothing here goes over a network."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from obstore.store import GCSStore, S3Store

from conf import access
from conf.access import Access, Whose
from conf.errors import StorageError, UsageError

KEYS = "[default]\naws_access_key_id = of-a-file\naws_secret_access_key = secret\n"
ELSEWHERE = Access("http://store:9000", "eu-north-1")


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let no person's environment and files be found, and end with the way in use as it was."""
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    before = access.current()
    yield
    access.use(before)


@pytest.fixture
def bucket() -> str:
    """Name a bucket that no other test has asked about: stores and regions are remembered."""
    return f"bucket-{uuid4().hex[:12]}"


class Amazon:
    """What S3 says of a bucket when it is asked for its region; counts how often it is."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer, self.asked = answer, 0
        self.ways: list[Access] = []

    def client(self, service: str, way: Access) -> "Amazon":
        """Stand for `access.client`."""
        assert service == "s3"
        self.ways.append(way)
        return self

    def head_bucket(self, Bucket: str) -> dict[str, dict[str, dict[str, str]]]:
        """Answer, or refuse."""
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        headers = {"x-amz-bucket-region": self.answer} if self.answer else {}
        return {"ResponseMetadata": {"HTTPHeaders": headers}}


def asked(monkeypatch: pytest.MonkeyPatch, answer: str | Exception) -> Amazon:
    """Let S3 answer so."""
    amazon = Amazon(answer)
    monkeypatch.setattr(access, "client", amazon.client)
    return amazon


class TestEndpoint:
    """Whom requests go to."""

    @pytest.mark.parametrize(
        ("given", "environment", "url"),
        [
            ("", {}, ""),
            ("", {"AWS_ENDPOINT_URL": "http://all"}, "http://all"),
            ("", {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "http://s3/"}, "http://s3"),
            ("http://mine/", {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "http://s3"}, "http://mine"),
            ("", {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": ""}, "http://all"),
        ],
    )
    def test_the_narrowest_that_is_said_holds(
        self, given: str, environment: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The setting, else the environment's for S3, else for all services; without a slash at its end."""
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert Access(given).url == url

    def test_only_s3_follows_the_environments_endpoint_of_s3(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A queue is not looked for there."""
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3:1")
        ends = [access.client(each, Access(region="eu-north-1")).meta.endpoint_url for each in ("s3", "sqs")]
        assert ends == ["http://s3:1", "https://sqs.eu-north-1.amazonaws.com"]


class TestRegion:
    """Where buckets lie."""

    @pytest.mark.parametrize(
        ("given", "environment", "region"),
        [
            ("eu-north-1", {"AWS_REGION": "eu-west-1"}, "eu-north-1"),
            ("", {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
            ("", {"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
            ("", {}, "us-east-1"),
        ],
    )
    def test_that_of_an_endpoint_is_said_and_not_asked_for(
        self, given: str, environment: dict[str, str], region: str, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the setting, else by the environment."""
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        amazon = asked(monkeypatch, "ap-south-1")
        assert Access("http://store:9000", given).to(bucket) == Access("http://store:9000", region)
        assert amazon.asked == 0

    def test_amazon_is_asked_once_a_bucket(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The bucket's own region holds, whatever the environment says; a setting is believed unasked."""
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        amazon = asked(monkeypatch, "ap-south-1")
        assert [Access().to(bucket).region for _ in range(3)] == ["ap-south-1"] * 3
        assert Access(region="eu-north-1").to(bucket).region == "eu-north-1"
        assert amazon.asked == 1

    @pytest.mark.parametrize(("told", "region"), [("eu-west-3", "eu-west-3"), ("", "us-east-1")])
    def test_asked_is_the_region_that_the_environment_tells(
        self, told: str, region: str, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A private network with a way to S3 has one to its own region only."""
        monkeypatch.setenv("AWS_REGION", told)
        amazon = asked(monkeypatch, "eu-west-3")
        assert Access().to(bucket).region == "eu-west-3"
        assert [each.region for each in amazon.ways] == [region]

    def test_a_refusal_names_it_too(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever may not look at the bucket may still read its objects."""
        headers = {"HTTPHeaders": {"x-amz-bucket-region": "ap-south-1"}}
        refusal = {"Error": {"Code": "403"}, "ResponseMetadata": {**headers, "HTTPStatusCode": 403}}
        asked(monkeypatch, ClientError(refusal, "HeadBucket"))
        assert Access().to(bucket).region == "ap-south-1"

    def test_where_it_stays_unsaid_the_environments_holds(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """As with services that do not tell."""
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        asked(monkeypatch, "")
        assert Access().to(bucket).region == "eu-west-1"

    def test_silence_is_an_outage_and_not_remembered(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next try asks again."""
        amazon = asked(monkeypatch, EndpointConnectionError(endpoint_url="https://s3.amazonaws.com"))
        with pytest.raises(StorageError, match=f"s3://{bucket} does not answer: Could not connect"):
            Access().to(bucket)
        amazon.answer = "ap-south-1"
        assert Access().to(bucket).region == "ap-south-1"


@pytest.mark.parametrize(
    ("place", "scheme"),
    [
        ("s3://b/k", "s3"),
        ("s3a://b/k", "s3"),
        ("s3n://b", "s3"),
        ("gs://b/k", "gs"),
        ("gcs://b", "gs"),
        ("az://c/k", "az"),
        ("abfs://c", "az"),
        ("file:///s3://b", ""),
        ("ftp://b", ""),
        ("/folder/s3", ""),
        ("s3", ""),
        ("s3:b", ""),
        ("", ""),
    ],
)
def test_the_scheme_of_an_object_store_is_told(place: str, scheme: str) -> None:
    """As the tables spell it; folders and other schemes have none."""
    assert access.scheme_of(place) == scheme


@pytest.mark.parametrize("place", ["s3://", "s3:///key", "gs://"])
def test_a_place_without_a_bucket_is_refused(place: str) -> None:
    """With what to say instead."""
    with pytest.raises(UsageError, match=r"names no bucket: say (s3|gs)://BUCKET/PREFIX"):
        access.bucket_of(place)


class TestOthers:
    """What delta-rs and Spark are told."""

    def test_they_are_told_the_endpoint_and_the_region(self) -> None:
        """The same as obstore; no key is among it, whoever's is used."""
        access.use(ELSEWHERE)
        assert access.delta_options("s3://bucket/lake/arrivals") == {
            "AWS_REGION": "eu-north-1",
            "AWS_ENDPOINT_URL": "http://store:9000",
            "AWS_ALLOW_HTTP": "true",
        }
        assert access.spark_options("s3://bucket/lake") == {
            "spark.hadoop.fs.s3a.endpoint.region": "eu-north-1",
            "spark.hadoop.fs.s3a.endpoint": "http://store:9000",
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        }

    def test_of_amazons_own_they_are_told_the_region_alone(self) -> None:
        """The rest is as usual there."""
        access.use(Access(region="eu-north-1"))
        assert access.delta_options("s3://bucket/lake") == {"AWS_REGION": "eu-north-1"}
        assert access.spark_options("s3://bucket/lake") == {"spark.hadoop.fs.s3a.endpoint.region": "eu-north-1"}

    def test_an_encrypted_endpoint_stays_encrypted(self) -> None:
        """Spark has to be told apart from the URL."""
        access.use(Access("https://store:9000", "eu-north-1"))
        told = access.spark_options("s3://bucket/lake")
        assert told["spark.hadoop.fs.s3a.connection.ssl.enabled"] == "true"

    def test_of_a_folder_they_are_told_nothing(self) -> None:
        """Whatever endpoint is in use."""
        access.use(ELSEWHERE)
        assert access.delta_options("/lake") is None
        assert access.spark_options("/lake") == {}

    def test_machines_elsewhere_get_what_only_this_one_knows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A worker's environment need not say it again; other stores than S3 have nothing to settle."""
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        access.use(Access(whose="anonymous"))
        assert access.settled("s3://bucket/lake") == Access("http://all", "eu-west-1", "anonymous")
        assert access.settled("gs://bucket/in") == Access(whose="anonymous")


def s3_store(bucket: str, way: Access = ELSEWHERE) -> S3Store:
    """Give the store of a bucket of S3."""
    store = access.store("s3", bucket, way)
    assert isinstance(store, S3Store)
    return store


class TestStores:
    """One store for each bucket and way to it."""

    def test_a_store_is_made_once(self, bucket: str) -> None:
        """Its connections are used again; another bucket, and another way, has another."""
        assert s3_store(bucket) is s3_store(bucket, Access("http://store:9000", "eu-north-1"))
        others = [s3_store(f"{bucket}-2"), s3_store(bucket, Access("http://store:9001", "eu-north-1"))]
        assert s3_store(bucket) not in others

    def test_it_never_repeats_a_call_by_itself(self, bucket: str) -> None:
        """What repeats them counts them."""
        assert (s3_store(bucket).retry_config or {}).get("max_retries") == 0

    @pytest.mark.parametrize(
        ("whose", "signed", "payer"),
        [("own", None, None), ("anonymous", "true", None), ("requester-pays", None, "true")],
    )
    def test_who_asks_and_who_pays(self, whose: Whose, signed: str | None, payer: str | None, bucket: str) -> None:
        """By the setting, also of a store of Google."""
        told = dict(s3_store(bucket, Access("http://store:9000", "eu-north-1", whose)).config)
        assert (told.get("skip_signature"), told.get("request_payer")) == (signed, payer)
        other = access.store("gs", bucket, Access(whose=whose))
        assert isinstance(other, GCSStore)
        assert dict(other.config)["skip_signature"] == ("false" if whose == "own" else "true")

    @pytest.mark.parametrize(("endpoint", "virtual"), [("", "true"), ("http://store:9000", "false")])
    def test_only_amazon_has_a_host_for_each_bucket(self, endpoint: str, virtual: str, bucket: str) -> None:
        """Other services are asked by path."""
        told = dict(s3_store(bucket, Access(endpoint, "eu-north-1")).config)
        assert (told["virtual_hosted_style_request"], told.get("endpoint", "")) == (virtual, endpoint)

    def test_what_cannot_be_set_up_is_said(self, bucket: str) -> None:
        """In one line, with the place."""
        with pytest.raises(
            UsageError, match=f"az://{bucket}: .*Account must be specified: say .*AZURE_STORAGE_ACCOUNT_NAME"
        ):
            access.store("az", bucket, Access())


class TestCredentials:
    """Whose they are is found by each library itself; a person's files only boto3 reads."""

    def test_those_of_a_persons_files_come_by_boto3(
        self, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Read when they are needed; none lies in the store's settings."""
        (tmp_path / "credentials").write_text(KEYS)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        store = s3_store(bucket)
        assert store.credential_provider is not None
        assert "of-a-file" not in str(store.config)

    @pytest.mark.parametrize("named", [True, False])
    def test_those_of_the_environment_come_first(
        self, named: bool, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in AWS's chain; where there are no files, obstore looks for itself."""
        if named:
            (tmp_path / "credentials").write_text(KEYS)
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        assert s3_store(bucket).credential_provider is None

    def test_files_that_hold_none_are_said(self, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not met as a refusal later."""
        (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        with pytest.raises(UsageError, match=f"s3://{bucket}: .*AWS_PROFILE"):
            s3_store(bucket)

    def test_anonymous_asks_for_none(self, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not even for a person's files."""
        (tmp_path / "credentials").write_text(KEYS)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        assert s3_store(bucket, Access("http://store:9000", "eu-north-1", "anonymous")).credential_provider is None
