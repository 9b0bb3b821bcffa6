"""Links by which a browser reads pictures for some time: presigned URLs of objects, and files as they are.

Whoever has such a URL can read the object until it ends: it goes into the page that asked for it, and nowhere else.
Signing is arithmetic: no request is made for a link, and one for a bucket of S3 whose region is not known.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from conf import access
from conf.access import Access
from conf.errors import UsageError, first_line
from conf.uris import FILE_SCHEME, key_of

# The longest that a URL signed by SigV4 may hold, and what it is signed by: boto3's own default for S3 is older.
LONGEST = 7 * 86400
_SIGNATURE = "s3v4"
_GOOGLE = "https://storage.googleapis.com"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)


@dataclass(frozen=True)
class Links:
    """Where a browser finds pictures.

    Attributes
    ----------
    urls : mapping of str to str
        By uri; pictures that no link can be made for are left out. They are secrets, and not shown.
    notes : tuple of str
        What a person should hear: links that end earlier than asked for.
    """

    urls: Mapping[str, str] = field(repr=False)
    notes: tuple[str, ...] = ()


def duration(text: str, setting: str = "links") -> int:
    """Return the seconds that a text such as `90s`, `30m`, `12h` or `7d` means.

    Raises
    ------
    UsageError
        It is no such text, none at all, or more than 7 days; the message names the setting.
    """
    found = _DURATION.fullmatch(text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not seconds:
        raise UsageError(f"--{setting} {text}: say how long as 90s, 30m, 12h or 1d")
    if seconds > LONGEST:
        raise UsageError(f"--{setting} {text}: 7d is the longest that S3 lets a presigned URL hold")
    return seconds


def presign(uris: Iterable[str], seconds: int, way: Access | None = None) -> Links:
    """Return links that hold for some time.

    A file's is its own uri; an object's a URL that anybody can read it by. Uris of other kinds get none.

    Parameters
    ----------
    uris
        As the tables spell them.
    seconds
        How long, 7 days at most.
    way
        To the objects: of an anonymous one links are plain and hold for ever, and those of Azure are left out. None:
        the one in use.

    Raises
    ------
    UsageError
        Credentials are missing.
    StorageError
        They cannot be had, or a bucket's region cannot be asked for.
    """
    way = way or access.current()
    urls: dict[str, str] = {}
    buckets: dict[tuple[str, str], list[str]] = defaultdict(list)
    for uri in uris:
        scheme = access.scheme_of(uri)
        if scheme:
            buckets[scheme, access.bucket_of(uri)].append(uri)
        elif uri.startswith(FILE_SCHEME):
            urls[uri] = uri
    for (scheme, bucket), own in buckets.items():
        urls.update(_s3(bucket, own, seconds, way) if scheme == "s3" else _other(scheme, bucket, own, seconds, way))
    signed = way.whose != "anonymous" and any(scheme == "s3" for scheme, _ in buckets)
    return Links(urls, tuple(_notes(seconds)) if signed else ())


def _s3(bucket: str, uris: Iterable[str], seconds: int, way: Access) -> Iterator[tuple[str, str]]:
    from botocore.exceptions import BotoCoreError, ClientError

    # Not by the name of a bucket that holds a dot: no certificate is for it. And never by the host that knows no
    # region: it redirects, and what it redirects to was not signed.
    style = "path" if way.url or "." in bucket else "virtual"
    try:
        client = access.client("s3", way.to(bucket), signature_version=_SIGNATURE, s3={"addressing_style": style})
        if way.whose == "requester-pays":
            client.meta.events.register("before-sign.s3.GetObject", _pay)
        for uri in uris:
            wanted = {"Bucket": bucket, "Key": key_of(uri)}
            yield uri, client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=seconds)
    except (BotoCoreError, ClientError) as error:
        raise access.unanswered(f"s3://{bucket}", error) from error


def _pay(request: Any, **_: Any) -> None:
    """Say in the URL who pays; botocore's own parameter would have a browser say it in a header."""
    request.params = {**request.params, "x-amz-request-payer": "requester"}


def _other(scheme: str, bucket: str, uris: list[str], seconds: int, way: Access) -> Iterator[tuple[str, str]]:
    """Sign with obstore, which knows Google's and Azure's ways; by a key of one's own that takes no request."""
    if way.whose == "anonymous":
        # An account of Azure is named by the environment only: a page cannot know it.
        plain = uris if scheme == "gs" else ()
        yield from ((uri, f"{_GOOGLE}/{uri.removeprefix('gs://')}") for uri in plain)
        return
    import obstore
    from obstore import exceptions

    try:
        store: Any = access.store(scheme, bucket, way)
        signed = obstore.sign(store, "GET", [key_of(uri) for uri in uris], timedelta(seconds=seconds))
    except (exceptions.BaseError, ValueError, OSError) as error:
        raise UsageError(f"{scheme}://{bucket}: no link can be signed: {first_line(error)}") from error
    yield from zip(uris, signed, strict=True)


def _notes(seconds: int) -> Iterator[str]:
    """Yield what is to be said of credentials that may end before the links: a link ends with them."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import get_session

    try:
        credentials = get_session().get_credentials()
        if credentials is None or not credentials.token:
            return
    except (BotoCoreError, ClientError) as error:
        raise access.unanswered("s3://", error) from error
    # botocore shows it nowhere else.
    end: datetime | None = getattr(credentials, "_expiry_time", None)
    if end is None:
        yield "the credentials are temporary, of a role or a login: the links end with them, whatever was asked for"
    elif end < datetime.now(UTC) + timedelta(seconds=seconds):
        when = end.astimezone(UTC)
        yield f"the links end with the credentials, at {when:%Y-%m-%d %H:%M} UTC, earlier than asked for"
