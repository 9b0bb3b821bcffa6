"""An object as a file: read in ranges, written whole when it is closed."""

import io
from collections.abc import Callable
from typing import Any


class RangeReader(io.RawIOBase):
    """Reads an object, each time asking for a range.

    Parameters
    ----------
    size
        Its bytes.
    read
        Returns some of them: from where, and how many.
    """

    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        self._size, self._read, self._at = size, read, 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return the place of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; nothing is read."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read as much as the buffer takes, or as there is."""
        length = max(0, min(len(buffer), self._size - self._at))
        if length:
            buffer[:length] = self._read(self._at, length)
            self._at += length
        return length


class WholeWriter(io.RawIOBase):
    """Holds what is written until it is closed, and puts it then; without closing nothing is there.

    Parameters
    ----------
    put
        Puts the whole content.
    """

    def __init__(self, put: Callable[[bytes], object]) -> None:
        self._put, self._content = put, bytearray()

    def writable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return len(self._content)

    def write(self, data: Any) -> int:
        """Hold what is written."""
        self._content += data
        return len(data)

    def close(self) -> None:
        """Put the object."""
        if not self.closed:
            super().close()
            self._put(bytes(self._content))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Put the object, unless the block failed."""
        if kind is None:
            self.close()
        else:
            super().close()

    def __del__(self) -> None:
        # A file's would close it: what was given up must not be put.
        pass
