"""Credentials that a container's platform gives at a URI, over HTTP on this machine."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from botocore.utils import ContainerMetadataFetcher
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from conf import access
from conf.access import Access
from conf.errors import StorageError, UsageError
from conf.objects import ObjectPath
from tests.storage.answering import Answer, Request, answering, page, refusal

CREDENTIALS = {
    "AccessKeyId": "OFTHEROLE",
    "SecretAccessKey": "secret",
    "Token": "t",
    "Expiration": "2099-01-01T00:00:00Z",
}


class Platform:
    """A platform's endpoint of credentials, and beside it a store with one object; remembers what it was asked."""

    def __init__(self) -> None:
        self.answer = Answer(body=json.dumps(CREDENTIALS).encode())
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        self.asked.append(request)
        if request.line == "GET /credentials":
            return self.answer
        if "_last_checkpoint" in request.line:
            return refusal(404, "NoSuchKey")
        return page() if "list-type" in request.line else Answer(body=b"picture", e_tag='"1"')

    def signers(self) -> set[str]:
        """Give the keys that requests to the store were signed by; empty for one that was not."""
        signed = [each.headers.get("authorization", "") for each in self.asked if each.line != "GET /credentials"]
        return {each.partition("Credential=")[2].partition("/")[0] for each in signed}

    def shown(self) -> set[str | None]:
        """Give what whoever asked for credentials showed."""
        return {each.headers.get("authorization") for each in self.asked if each.line == "GET /credentials"}


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """Let this process be in a container of such a platform, and in no other place with credentials."""
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    started = Platform()
    with answering(started) as way:
        # Whoever asks an instance for them is told that it has none.
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"{way.endpoint}/instance")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{way.endpoint}/credentials")
        access.use(way)
        yield started


def of_obstore(bucket: str) -> None:
    """Read an object as workers do."""
    assert ObjectPath(f"s3://{bucket}/a.jpg").read_bytes() == b"picture"


def of_boto3(bucket: str) -> None:
    """List a bucket as discovery does."""
    assert "Contents" not in access.client("s3").list_objects_v2(Bucket=bucket)


def of_delta_rs(bucket: str) -> None:
    """Look for a table, of which the store shows no log."""
    place = f"s3://{bucket}/lake"
    with pytest.raises(TableNotFoundError):
        DeltaTable(place, storage_options=access.delta_options(place))


@pytest.mark.parametrize("read", [of_obstore, of_boto3, of_delta_rs])
@pytest.mark.parametrize("given", ["token", "file", "nothing"])
def test_every_library_finds_a_containers_credentials(
    read: Callable[[str], None], given: str, platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the platform wants to be shown a token, the content of a file, or nothing."""
    if given == "token":
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let-me-in")
    if given == "file":
        (tmp_path / "token").write_text("let-me-in")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    read(f"bucket-{uuid4().hex[:12]}")
    assert platform.signers() == {"OFTHEROLE"}
    assert platform.shown() == {None if given == "nothing" else "let-me-in"}


def test_keys_of_the_environment_come_before_the_containers(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in AWS's chain; the platform is not asked."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OFTHEENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    of_obstore(f"bucket-{uuid4().hex[:12]}")
    assert (platform.signers(), platform.shown()) == ({"OFTHEENVIRONMENT"}, set())


def test_a_platform_that_gives_none_is_an_outage(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told with the place; the next try asks again."""
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    platform.answer = Answer(500, b"not now")
    bucket = f"bucket-{uuid4().hex[:12]}"
    with pytest.raises(StorageError, match=f"s3://{bucket} does not answer: .*Received non 200 response 500"):
        of_obstore(bucket)
    platform.answer = Answer(body=json.dumps(CREDENTIALS).encode())
    of_obstore(bucket)


def test_a_uri_that_must_not_be_asked_is_said(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token must not go to any host unencrypted."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://elsewhere.example/credentials")
    with pytest.raises(UsageError, match=r"Unsupported host 'elsewhere\.example'"):
        of_obstore(f"bucket-{uuid4().hex[:12]}")


def test_boto3s_credentials_are_used_for_less_time_than_boto3_leaves_them(platform: Platform) -> None:
    """It gives none that ends within ten minutes, and obstore keeps them for ten minutes at most."""
    store = access.store("s3", f"bucket-{uuid4().hex[:12]}", Access("http://store:9000", "eu-north-1"))
    provider = store.credential_provider  # type: ignore[union-attr]
    assert provider.credentials._mandatory_refresh_timeout >= provider.ttl.total_seconds()  # type: ignore[union-attr]
