"""Small files of the lake, and files for people, written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from conf.errors import StorageError, UsageError, first_line
from conf.objects import ObjectPath


def write_atomically(path: Path | ObjectPath, content: bytes) -> None:
    """Write under another name, flush to disk, then rename: `path` holds all of `content` or what it held before.

    An object is put so by itself.
    """
    if isinstance(path, ObjectPath):
        path.write_bytes(content)
        return
    with _replacing(path) as file:
        file.write(content)


@contextmanager
def written_whole(path: Path, setting: str) -> Iterator[IO[bytes]]:
    """Give a file to write that takes the place of `path` once it is complete; else that stays as it was.

    Raises
    ------
    UsageError
        What the setting names is no file.
    StorageError
        It cannot be written.
    """
    try:
        if path.is_dir():
            raise UsageError(f"--{setting} {path} is a folder: name a file in it")
        if path.exists() and not path.is_file():
            raise UsageError(f"--{setting} {path} is a device or pipe: name a file")
        with _replacing(path) as file:
            yield file
    except OSError as error:
        raise StorageError(f"--{setting} {path} cannot be written: {error.strerror or first_line(error)}") from error


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its own name may be as long as a name can be.
    temporary = path.with_name(f".{uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_tree(place: Path | ObjectPath, *, ignore_errors: bool = False) -> None:
    """Delete a folder, or all objects below a prefix; `ignore_errors`: as far as that can be done."""
    if not isinstance(place, ObjectPath):
        shutil.rmtree(place, ignore_errors=ignore_errors)
        return
    with suppress(OSError) if ignore_errors else nullcontext():
        place.rmtree()
