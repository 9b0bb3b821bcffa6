"""How this process reaches object stores: endpoint, region and whose credentials, once for every library in use.

obstore reads and writes objects, boto3 lists S3 and speaks with SQS, delta-rs has its own way to the tables, Spark's
S3A another. All are told the same here; none is told a key: each finds credentials by AWS's own chain, so that none
travels in a plan, a closure or a log.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from conf.errors import StorageError, UsageError, VergerError, first_line
from conf.retrying import RETRIED

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Whose = Literal["own", "anonymous", "requester-pays"]
SCHEMES = ("s3", "gs", "az")
# What Spark's settings of its way to S3 begin with.
S3A = "spark.hadoop.fs.s3a"
_CONNECT_SECONDS, _READ_SECONDS = 5, 30
_BOTO_TRIES = 8
# For how long obstore uses what boto3 gave it: boto3 has renewed whatever ends within ten minutes before it gives it.
_KEPT = timedelta(minutes=10)
_TOLD_BY = {
    "s3": "AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_REGION",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN",
}
_DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True)
class Access:
    """The way to object stores, small enough to travel with a task.

    Attributes
    ----------
    endpoint : str
        URL of an S3-compatible service; empty: what the environment says (`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`),
        else Amazon's own.
    region : str
        Empty: what the environment says, else the bucket's own, which S3 is asked for.
    whose : {"own", "anonymous", "requester-pays"}
        Whether requests are signed, and who pays for them.

    Raises
    ------
    UsageError
        The endpoint holds a user or a password: it travels with tasks, and stands in the settings of Spark.
    """

    endpoint: str = ""
    region: str = ""
    whose: Whose = "own"

    def __post_init__(self) -> None:
        if "@" in self.endpoint:
            raise UsageError(
                "the endpoint of S3 (--s3-endpoint, AWS_ENDPOINT_URL) holds a user or a password: leave them out, and "
                f"say in the environment whose credentials to use ({_TOLD_BY['s3']})"
            )

    @property
    def url(self) -> str:
        """The endpoint in force; empty for Amazon's own."""
        given = (self.endpoint, os.environ.get("AWS_ENDPOINT_URL_S3"), os.environ.get("AWS_ENDPOINT_URL"))
        return next((each.rstrip("/") for each in given if each), "")

    def to(self, bucket: str) -> Access:
        """Return the same with everything settled that this process knows or can ask for, for one bucket of S3."""
        told = self.region or ((_told_region() or _DEFAULT_REGION) if self.url else "")
        return replace(self, endpoint=self.url, region=told or _region(bucket, self.whose))


_current = Access()


def use(access: Access) -> None:
    """Let this process reach object stores in this way from now on."""
    global _current
    _current = access


def current() -> Access:
    """Return the way in use."""
    return _current


def scheme_of(place: str) -> str:
    """Return the scheme of an object store's URI as the tables spell it; empty for any other place."""
    scheme = place.partition("://")[0] if "://" in place else ""
    scheme = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "az", "azure": "az"}.get(scheme, scheme)
    return scheme if scheme in SCHEMES else ""


def store(scheme: str, bucket: str, access: Access) -> ObjectStore:
    """Return the store of a bucket or container; its calls are not repeated by themselves (`conf.retrying` does).

    Raises
    ------
    UsageError
        What is needed to reach it is not said anywhere.
    """
    return _store(scheme, bucket, access.to(bucket) if scheme == "s3" else access)


@functools.cache
def _store(scheme: str, bucket: str, access: Access) -> ObjectStore:
    from obstore import exceptions
    from obstore.store import AzureStore, GCSStore, S3Store

    once: Any = {"max_retries": 0}
    client: Any = {"connect_timeout": f"{_CONNECT_SECONDS}s", "timeout": f"{_READ_SECONDS}s", "allow_http": True}
    try:
        if scheme == "s3":
            return S3Store(bucket, client_options=client, retry_config=once, **_s3(bucket, access))
        kind: type[GCSStore] | type[AzureStore] = GCSStore if scheme == "gs" else AzureStore
        return kind(bucket, client_options=client, retry_config=once, skip_signature=access.whose != "own")
    except (exceptions.BaseError, ValueError, OSError) as error:
        raise UsageError(_unsaid(f"{scheme}://{bucket}", error, scheme)) from error


def unanswered(place: str, error: Exception) -> VergerError:
    """Return what an error of boto3 that is no answer means: credentials that nobody has given, or an outage."""
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError, ProfileNotFound

    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return UsageError(_unsaid(place, error, "s3"))
    return StorageError(f"{place} does not answer: {first_line(error)}")


def _unsaid(place: str, error: Exception, scheme: str) -> str:
    return f"{place}: {first_line(error)}: say in the environment how it is reached ({_TOLD_BY[scheme]})"


def _s3(bucket: str, access: Access) -> dict[str, Any]:
    options: dict[str, Any] = {"region": access.region, "virtual_hosted_style_request": not access.endpoint}
    if access.endpoint:
        options["endpoint"] = access.endpoint
    if access.whose == "anonymous":
        return options | {"skip_signature": True}
    if access.whose == "requester-pays":
        options["request_payer"] = True
    if _only_boto3_finds():
        options["credential_provider"] = _found_by_boto3(bucket)
    return options


def _only_boto3_finds() -> bool:
    """Whether credentials come from where obstore does not look, nor delta-rs at an endpoint of one's own.

    These know the environment, web identity, containers of ECS and EKS, and instances; not a person's files, nor a
    container's URI that comes without the file of a token, as managed platforms give it.
    """
    said = os.environ.get
    if said("AWS_ACCESS_KEY_ID"):
        return False
    files = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
    if any(Path(said(name, path)).expanduser().is_file() for name, path in files.items()):
        return True
    known = said("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") or said("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    return bool(said("AWS_CONTAINER_CREDENTIALS_FULL_URI")) and not known


def _found_by_boto3(bucket: str) -> Any:
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider(ttl=_KEPT)
    except BotoCoreError as error:
        raise unanswered(f"s3://{bucket}", error) from error


def client(service: str, access: Access | None = None, *, connections: int = 10, **more: Any) -> Any:
    """Return a boto3 client for S3 or SQS that repeats what may pass, with jitter, and counts it.

    Parameters
    ----------
    service
        As boto3 names it.
    access
        None: the way in use. An endpoint that the environment names for S3 holds for S3 alone.
    connections
        At most.
    more
        As botocore's Config takes it.
    """
    from botocore import UNSIGNED
    from botocore.config import Config

    access = access or current()
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _BOTO_TRIES},
        max_pool_connections=connections,
        **(more | ({"signature_version": UNSIGNED} if access.whose == "anonymous" else {})),
    )
    region = access.region or _told_region() or _DEFAULT_REGION
    endpoint = (access.url if service == "s3" else access.endpoint) or None
    made = _session().client(service, config=config, endpoint_url=endpoint, region_name=region)
    made.meta.events.register("after-call", functools.partial(_count, service))
    return made


def _session() -> Any:
    """Return a session whose answers' times are read quickly: of a page of S3's listing that was more than half."""
    import boto3
    from botocore.session import get_session

    session = get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    return boto3.Session(botocore_session=session)


def _moment(value: Any) -> datetime:
    from botocore.utils import parse_timestamp

    try:
        return datetime.fromisoformat(value)
    except (ValueError, TypeError):
        # A header's, or a number.
        return parse_timestamp(value)  # type: ignore[no-any-return]


def _count(service: str, parsed: dict[str, Any] | None = None, **_: Any) -> None:
    again = ((parsed or {}).get("ResponseMetadata") or {}).get("RetryAttempts") or 0
    if again:
        RETRIED.add(service, again)


def _told_region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""


@functools.cache
def _region(bucket: str, whose: Whose) -> str:
    """Return the region of a bucket, as S3 itself says.

    Asked is the region that the environment tells, which names the right one where it is another; a machine of a
    private network may reach no other.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        anywhere = client("s3", Access(region=_told_region() or _DEFAULT_REGION, whose=whose))
        headers = anywhere.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
    except ClientError as error:
        # Also a refusal names it.
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    except BotoCoreError as error:
        raise unanswered(f"s3://{bucket}", error) from error
    return str(headers.get("x-amz-bucket-region") or _told_region() or _DEFAULT_REGION)


def settled(place: str) -> Access:
    """Return the way in use with everything settled that processes on other machines must know to reach a place."""
    return current().to(bucket_of(place)) if scheme_of(place) == "s3" else current()


def delta_options(place: str) -> dict[str, str] | None:
    """Return what delta-rs must be told to reach a table; None for a folder's."""
    if scheme_of(place) != "s3":
        return None
    access = settled(place)
    options = {"AWS_REGION": access.region}
    if not access.endpoint:
        return options
    options |= {"AWS_ENDPOINT_URL": access.endpoint, "AWS_ALLOW_HTTP": "true"}
    # At Amazon's own it looks everywhere unasked.
    return options | ({"AWS_FORCE_CREDENTIAL_LOAD": "true"} if _only_boto3_finds() else {})


def spark_options(place: str) -> dict[str, str]:
    """Return what Spark must be told to reach a lake on S3: what is in force, none for a folder's."""
    if scheme_of(place) != "s3":
        return {}
    access = settled(place)
    options = {f"{S3A}.endpoint.region": access.region}
    if access.endpoint:
        options |= {f"{S3A}.endpoint": access.endpoint, f"{S3A}.path.style.access": "true"}
        options[f"{S3A}.connection.ssl.enabled"] = str(access.endpoint.startswith("https")).lower()
    return options


def bucket_of(place: str) -> str:
    """Return the bucket or container of an object store's URI.

    Raises
    ------
    UsageError
        It names none.
    """
    bucket = place.partition("://")[2].partition("/")[0]
    if not bucket:
        raise UsageError(f"{place} names no bucket: say {place.partition('://')[0]}://BUCKET/PREFIX")
    return bucket
