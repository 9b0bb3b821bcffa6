"""The packages that a job's driver has and its workers need not: fetched as one archive and put on Python's path.

They are half of what Verger needs, delta-rs above all. A platform unpacks `spark.archives` on every machine of a job;
this archive the driver alone unpacks, from wherever `VARIABLE` says that it lies.
"""

import hashlib
import os
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from conf import access
from conf.access import Access
from conf.errors import StorageError, first_line
from conf.uris import Place, located

# Of the driver's environment.
VARIABLE = "VERGER_DRIVER_PACKAGES"


def use(place: str, arguments: Sequence[str]) -> None:
    """Let this process import what an archive holds.

    It is unpacked into the working directory, where a platform unpacks an environment, too; what is there already from
    the same archive is taken as it is.

    Parameters
    ----------
    place
        URI of an object, or path, of a `.tar.gz` of packages; or the path of a folder that one was unpacked into.
    arguments
        Of the command line, which tell the way to S3: `--s3-endpoint`, `--s3-region`.

    Raises
    ------
    StorageError
        The archive cannot be read, is none, or finds no room.
    UsageError
        Nobody has said whose credentials to use.
    """
    access.use(Access(_told(arguments, "--s3-endpoint"), _told(arguments, "--s3-region")))
    archive = located(place)
    folder = archive if isinstance(archive, Path) and archive.is_dir() else _unpacked(archive)
    sys.path.append(str(folder))


def _told(arguments: Sequence[str], flag: str) -> str:
    for number, word in enumerate(arguments):
        name, given, value = word.partition("=")
        if name == flag:
            return value if given else next(iter(arguments[number + 1 :]), "")
    return ""


def _unpacked(archive: Place) -> Path:
    here = Path.cwd()
    try:
        found = archive.stat()
        identity = f"{archive} {found.st_size} {getattr(found, 'e_tag', '') or found.st_mtime}"
        folder = here / f"driver-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
        if not folder.is_dir():
            _unpack(archive, folder)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise StorageError(
            f"the driver's packages at {archive} cannot be unpacked into {here}: {first_line(error)}"
        ) from error
    return folder


def _unpack(archive: Place, folder: Path) -> None:
    begun = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r|gz") as tar:
            tar.extractall(begun, filter="data")
        begun.rename(folder)
    finally:
        shutil.rmtree(begun, ignore_errors=True)
