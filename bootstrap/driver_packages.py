"""The packages that a job's driver has and its workers need not: fetched as one archive and put on Python's path.

They are half of what Verger needs, delta-rs above all. A platform unpacks `spark.archives` on every machine of a job;
this archive the driver alone unpacks, from wherever `VARIABLE` says that it lies.
"""

import gzip
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from conf import access
from conf.access import Access
from conf.errors import StorageError, UsageError, first_line
from conf.settings import resolve
from conf.uris import FILE_SCHEME, Place, located, path_of

# Of the driver's environment.
VARIABLE = "VERGER_DRIVER_PACKAGES"
_BLOCK = 1 << 20


def use(place: str, arguments: Sequence[str]) -> None:
    """Let this process import what an archive holds.

    It is unpacked into the working directory, where a platform unpacks an environment, too; what is there already from
    the same archive is taken as it is.

    Parameters
    ----------
    place
        URI of an object, or path, of a `.tar.gz` of packages; or the path of a folder that one was unpacked into.
    arguments
        Of the command line; the way to S3 is what these, the environment and `verger.toml` say.

    Raises
    ------
    UsageError
        It is no such place, the way to S3 is not said rightly, or nobody has said whose credentials to use.
    StorageError
        The archive cannot be read, is none, or finds no room.
    """
    archive = _located(place)
    told = {"s3_endpoint": _told(arguments, "--s3-endpoint"), "s3_region": _told(arguments, "--s3-region")}
    config = _told(arguments, "--config")
    settings = resolve(told, os.environ, Path(config) if config else None).settings
    access.use(Access(settings.s3_endpoint, settings.s3_region))
    folder = archive if isinstance(archive, Path) and archive.is_dir() else _unpacked(archive)
    sys.path.append(str(folder))


def _located(place: str) -> Place:
    if place.startswith(FILE_SCHEME):
        return path_of(place)
    if "://" in place and not access.scheme_of(place):
        raise UsageError(f"{VARIABLE} names neither a path nor an object: say s3://BUCKET/KEY")
    found = located(place)
    return found.absolute() if isinstance(found, Path) else found


def _told(arguments: Sequence[str], flag: str) -> str | None:
    for number, word in enumerate(arguments):
        name, given, value = word.partition("=")
        if name == flag:
            return value if given else next(iter(arguments[number + 1 :]), None)
    return None


def _unpacked(archive: Place) -> Path:
    try:
        found = archive.stat()
    except OSError as error:
        raise StorageError(f"the driver's packages cannot be fetched: {first_line(error)}") from error
    identity = f"{archive} {found.st_size} {getattr(found, 'e_tag', '') or found.st_mtime}"
    folder = Path.cwd() / f"driver-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        try:
            _unpack(archive, folder)
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise StorageError(
                f"the driver's packages at {archive} cannot be unpacked into {folder.parent}: {first_line(error)}"
            ) from error
    return folder


def _unpack(archive: Place, folder: Path) -> None:
    begun = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        with archive.open("rb") as file, gzip.open(file) as plain:
            with tarfile.open(fileobj=plain, mode="r|") as tar:
                tar.extractall(begun, filter="data")
            # What was cut off at the end of a member looks whole: the checksum comes last.
            while plain.read(_BLOCK):
                pass
        _put(begun, folder)
    finally:
        shutil.rmtree(begun, ignore_errors=True)


def _put(begun: Path, folder: Path) -> None:
    try:
        begun.rename(folder)
    except OSError:
        # Another driver of this folder was first.
        if not folder.is_dir():
            raise
