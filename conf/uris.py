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
    if "://" not in place:
        return Path(os.path.abspath(Path(place).expanduser()))  # noqa: PTH100 (Path.resolve would follow symlinks)
    scheme = urlsplit(place).scheme
    if scheme != "file":
        raise UsageError(f"--{setting} {place}: {scheme}:// is not supported yet; give a folder")
    return path_of(place)


def uri_of(path: Path | str) -> str:
    """Return the file:// URI of an absolute path; everything but RFC 3986's unreserved characters is encoded."""
    return FILE_SCHEME + quote(os.fsencode(path), safe="/")


def path_of(uri: str) -> Path:
    """Return the path of a file:// URI, the inverse of `uri_of`."""
    return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix(FILE_SCHEME).removeprefix("localhost"))))
