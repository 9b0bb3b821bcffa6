"""One spelling per place: plain paths and file:// URIs, percent-encoded by RFC 3986.

File names are bytes; a name that is not UTF-8 keeps its bytes through `os.fsencode` and percent-encoding.
"""

import os
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit

from conf.errors import UsageError

FILE_SCHEME = "file://"


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
