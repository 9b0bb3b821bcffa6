"""The one seam through which landed pictures are read: URI in, bytes out, the world's errors translated.

A `Storage` has one method, so everything above it is tested without a file system or a network. Folders are read
here, object stores by `conf.object_storage`.
"""

import errno
import os
import stat
from typing import Protocol

from conf.errors import DeniedError, Rejected, StorageError
from conf.rejections import Reason
from conf.uris import path_of

_OWN_FAULT = {
    errno.ENOENT: Reason.GONE,
    errno.ENOTDIR: Reason.GONE,
    errno.ELOOP: Reason.GONE,
    errno.ENAMETOOLONG: Reason.GONE,
    errno.ENXIO: Reason.CHANGED,
    errno.EACCES: Reason.FORBIDDEN,
    errno.EPERM: Reason.FORBIDDEN,
}


class Storage(Protocol):
    """Reads one version of one picture, by several threads where `ahead` is more than one."""

    @property
    def ahead(self) -> int:
        """How many pictures it pays to have on their way at a time."""

    def read(self, uri: str, e_tag: str, size: int, byte_limit: int) -> bytes:
        """Return the bytes of the version of `uri` that `e_tag` names and that has `size` bytes, in one try.

        Raises
        ------
        Rejected
            GONE, CHANGED, FORBIDDEN, UNADDRESSABLE or TOO_MANY_BYTES: the picture's own fault.
        OutageError
            The world's fault; trying again soon can succeed.
        StorageError
            The world's fault; trying again later can succeed.
        DeniedError
            The whole landing may not be read.
        """


def folder_e_tag(status: os.stat_result) -> str:
    """Return the identity of a file's version: its size in bytes and its modification time in nanoseconds."""
    return f"{status.st_size}-{status.st_mtime_ns}"


class FolderStorage:
    """Pictures in a folder, local or mounted.

    Parameters
    ----------
    root
        The landing folder. While it does not answer, or is not the folder that it was when this was made (a mount that
        is gone leaves an empty one), a missing picture is the world's fault and not its own.
    """

    # A file is read in less time than it takes to hand it to a thread and back.
    ahead = 1

    def __init__(self, root: str) -> None:
        self._root = root
        self._inode = os.stat(root).st_ino  # noqa: PTH116 (a text travels to the workers, not a Path)

    def read(self, uri: str, e_tag: str, size: int, byte_limit: int) -> bytes:
        """Read a file whose size and modification time are the same before and after; see `Storage.read`."""
        try:
            # O_NONBLOCK: a pipe that took the picture's name would hang the open.
            descriptor = os.open(path_of(uri), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                status = os.fstat(descriptor)
                self._check(status, e_tag, byte_limit)
                with open(descriptor, "rb", closefd=False) as file:
                    # No more than it has: it may grow meanwhile, beyond any limit.
                    data = file.read(status.st_size)
                self._check(os.fstat(descriptor), e_tag, byte_limit)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._translated(error, uri) from error
        return data

    @staticmethod
    def _check(status: os.stat_result, e_tag: str, byte_limit: int) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise Rejected(Reason.CHANGED, "no longer a regular file")
        if folder_e_tag(status) != e_tag:
            raise Rejected(Reason.CHANGED, f"arrived as {e_tag}, now {folder_e_tag(status)}")
        if status.st_size > byte_limit:
            raise Rejected(Reason.TOO_MANY_BYTES, f"{status.st_size} bytes, the limit is {byte_limit}")

    def _translated(self, error: OSError, uri: str) -> Exception:
        reason = _OWN_FAULT.get(error.errno or 0)
        if reason is None:
            return StorageError(f"{uri}: {error}")
        try:
            with os.scandir(self._root) as entries:
                next(entries, None)
            # The dot: a folder that may be listed and not entered has names and no pictures.
            same = os.stat(os.path.join(self._root, ".")).st_ino == self._inode  # noqa: PTH116, PTH118
        except PermissionError as landing_error:
            return DeniedError(f"the landing may not be read: {landing_error}; grant its reading and start again")
        except OSError as landing_error:
            return StorageError(f"the landing does not answer: {landing_error}")
        if not same:
            return StorageError(f"the landing {self._root} is not the folder that it was: is it unmounted?")
        return Rejected(reason, error.strerror or str(error))
