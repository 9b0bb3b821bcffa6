"""Discovery by listing a prefix of an object store: every picture below it, page by page, never the whole listing."""

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conf import access
from conf.access import Access
from conf.errors import DeniedError, LandingError, StorageError, VergerError
from conf.store_errors import said
from conf.uris import key_of, object_uri
from streaming.discovery.sighting import Found, Sighting
from streaming.landing import Kind, NameRule

_PAGE = 1000


@dataclass(frozen=True)
class Listed:
    """One object as a listing shows it.

    Attributes
    ----------
    e_tag : str
        As the store gives it.
    modified : datetime
        In UTC.
    size : int
        Bytes.
    """

    key: str
    e_tag: str
    modified: datetime
    size: int


Pages = Callable[[], Iterator[Sequence[Listed]]]


class ObjectListing:
    """Lists one landing in an object store again and again. An object appears whole, so none has to settle.

    Parameters
    ----------
    landing
        Its URI, as the tables spell it.
    rule
        Which names count.
    pages
        Begins a listing of all keys below the landing; see `pages_of`.
    """

    def __init__(self, landing: str, rule: NameRule, pages: Pages) -> None:
        self._scheme, _, rest = landing.partition("://")
        self._bucket = rest.partition("/")[0]
        self._skipped = len(prefix_of(landing))
        self._rule = rule
        self._pages = pages
        self._passed_over: Counter[str] = Counter()

    def poll(self) -> Iterator[Found]:
        """Yield what has landed, as the pages come; `sighting` tells the rest afterwards.

        Raises
        ------
        LandingError, StorageError
            The landing cannot be listed.
        """
        self._passed_over = Counter()
        for page in self._pages():
            for each in page:
                kind = self._rule.kind_below(each.key[self._skipped :])
                if kind is Kind.PICTURE:
                    yield found(self._scheme, self._bucket, each)
                else:
                    self._passed_over[kind.value] += 1

    def sighting(self) -> Sighting:
        """Return what the last poll passed over."""
        return Sighting(self._passed_over)


def found(scheme: str, bucket: str, listed: Listed, version: str | None = None) -> Found:
    """Return the version of a picture that an object is.

    Its time is in whole seconds: a listing gives milliseconds where asking for the object gives seconds.
    """
    landed_at = listed.modified.replace(microsecond=0)
    return Found(object_uri(scheme, bucket, listed.key), e_tag_of(listed.e_tag), landed_at, listed.size, version)


def e_tag_of(text: str) -> str:
    """Return an ETag as the tables hold it: without the quotes that HTTP puts around it."""
    return text.strip('"')


def prefix_of(landing: str) -> str:
    """Return what the keys of a landing begin with."""
    key = key_of(landing)
    return f"{key}/" if key else ""


def pages_of(landing: str, way: Access) -> Pages:
    """Return the function that begins a listing of a landing: S3's through boto3, others' through obstore.

    S3 may hold keys that obstore cannot name, and its listing ends at the first of them.
    """
    scheme, bucket, prefix = access.scheme_of(landing), access.bucket_of(landing), prefix_of(landing)
    if scheme != "s3":
        return lambda: _pages(scheme, bucket, prefix, way)
    # Made once, and not before it is needed: a client takes a tenth of a second.
    client = functools.cache(lambda: access.client("s3", way.to(bucket)))
    return lambda: _s3_pages(client, bucket, prefix, way)


def _s3_pages(client: Callable[[], Any], bucket: str, prefix: str, way: Access) -> Iterator[Sequence[Listed]]:
    from botocore.exceptions import BotoCoreError, ClientError

    pays = {"RequestPayer": "requester"} if way.whose == "requester-pays" else {}
    try:
        paginator = client().get_paginator("list_objects_v2")
        for page in paginator.paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": _PAGE}, **pays):
            yield [
                Listed(each["Key"], each["ETag"], each["LastModified"], each["Size"])
                for each in page.get("Contents", [])
            ]
    except ClientError as error:
        raise refused(f"s3://{bucket}", error.response) from error
    except BotoCoreError as error:
        raise access.unanswered(f"the landing s3://{bucket}", error) from error


def refused(bucket: str, response: dict[str, Any]) -> VergerError:
    """Return what an answer of boto3 that is an error means for a landing."""
    code, message = (str(response.get("Error", {}).get(name, "")) for name in ("Code", "Message"))
    why = f"{code}: {message}"
    if code in ("NoSuchBucket", "404", "InvalidBucketName"):
        return LandingError(f"the landing {bucket} does not exist ({why}): make the bucket or correct --landing")
    if code in ("AccessDenied", "AllAccessDisabled", "403"):
        mend = "grant s3:ListBucket and s3:GetObject on it, or say --landing-access anonymous for a public bucket"
        return DeniedError(f"the landing {bucket} may not be read ({why}): {mend}")
    return StorageError(f"the landing {bucket} cannot be listed: {why}")


def _pages(scheme: str, bucket: str, prefix: str, way: Access) -> Iterator[Sequence[Listed]]:
    import obstore
    from obstore import exceptions

    place = f"{scheme}://{bucket}"
    try:
        for page in obstore.list(access.store(scheme, bucket, way), prefix or None, chunk_size=_PAGE):
            yield [Listed(each["path"], each["e_tag"] or "", each["last_modified"], each["size"]) for each in page]
    except FileNotFoundError as error:
        raise LandingError(f"the landing {place} does not exist: make it or correct --landing") from error
    except exceptions.InvalidPathError as error:
        raise LandingError(f"the landing {place} holds a name that cannot be listed: {said(error)}") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise DeniedError(f"the landing {place} may not be listed: {said(error)}") from error
    except (exceptions.BaseError, OSError) as error:
        raise StorageError(f"the landing {place} does not answer: {said(error)}") from error
