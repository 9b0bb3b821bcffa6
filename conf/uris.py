"""One spelling per place: plain paths, file:// URIs and those of object stores, percent-encoded by RFC 3986.

File names are bytes; a name that is not UTF-8 keeps its bytes through `os.fsencode` and percent-encoding.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit

from conf import access
from conf.errors import UsageError
from conf.objects import ObjectPath

FILE_SCHEME = "file://"
# A folder or a file, or a prefix or an object of a store.
Place = Path | ObjectPath
_ENCODED = re.compile("%[0-9A-Fa-f]{2}")


def folder_of(place: str, setting: str) -> Path:
    """Return the absolute folder that a setting names as a plain path or file:// URI; symlinks stay as given.

    Raises
    ------
    UsageError
        The setting is empty, or its scheme is one that this version does not reach.
    """
    if not place:
        raise UsageError(
            f"--{setting} is missing: say --{setting} FOLDER, set VERGER_{setting.upper()}, or add it to verger.toml"
        )
    parts = urlsplit(place)
    if not parts.scheme or (parts.scheme != "file" and "://" not in place):
        return _absolute(place)
    if parts.scheme != "file":
        raise UsageError(f"--{setting} {place}: {parts.scheme}:// is not supported yet: give a folder")
    if parts.netloc not in ("", "localhost"):
        raise UsageError(f"--{setting} {place}: names the host {parts.netloc}: give a folder of this machine")
    return _absolute(os.fsdecode(unquote_to_bytes(place.partition(":")[2].removeprefix(f"//{parts.netloc}"))))


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 (Path's would follow links, and raise)


def uri_of(path: Path | str) -> str:
    """Return the file:// URI of an absolute path; everything but RFC 3986's unreserved characters is encoded."""
    return FILE_SCHEME + quote(os.fsencode(path), safe="/")


def path_of(uri: str) -> Path:
    """Return the path of a file:// URI, the inverse of `uri_of`."""
    return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix(FILE_SCHEME).removeprefix("localhost"))))


def located(text: str) -> Place:
    """Return the place that an absolute path or an object store's URI names, its key as it is."""
    return ObjectPath(text) if access.scheme_of(text) else Path(text)


def object_uri(scheme: str, bucket: str, key: str) -> str:
    """Return the URI of an object; everything but RFC 3986's unreserved characters is encoded in its key."""
    return f"{scheme}://{bucket}/{quote(key, safe='/')}"


def key_of(uri: str) -> str:
    """Return the key of an object's URI, the inverse of `object_uri`."""
    return unquote_to_bytes(uri.partition("://")[2].partition("/")[2]).decode()


def spelled(text: str, setting: str) -> str:
    """Return the URI that a person means by a path, a file:// URI or the URI of an object, without a slash at its end.

    A key may be given as it is, or encoded as the tables spell it: what holds `%41` and the like is taken for encoded.

    Raises
    ------
    UsageError
        The text is empty, or names no place that this version reaches.
    """
    scheme = access.scheme_of(text)
    if not scheme:
        return uri_of(folder_of(text, setting))
    bucket = access.bucket_of(text)
    key = text.partition("://")[2].partition("/")[2]
    try:
        decoded = unquote_to_bytes(key).decode() if _ENCODED.search(key) else key
    except UnicodeDecodeError:
        decoded = key
    return object_uri(scheme, bucket, decoded).rstrip("/")
