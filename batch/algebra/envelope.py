"""Bytes that say what they are and tell when they are damaged: a kind, a version and a checksum before the content."""

import struct
import zlib
from collections.abc import Sequence

VERSION = 1
# Kind, version and CRC-32 of what follows; 16 bytes, so that numbers after it are aligned.
_HEADER = struct.Struct("<4sII4x")


def sealed(kind: bytes, parts: Sequence[bytes | memoryview]) -> bytes:
    """Return the parts, one after the other, in an envelope.

    Parameters
    ----------
    kind
        Four bytes that say what it is.
    parts
        Contiguous; copied once.
    """
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join([_HEADER.pack(kind, VERSION, checksum), *parts])


def opened(kind: bytes, data: bytes | memoryview) -> memoryview:
    """Return what an envelope holds, in its own memory.

    Raises
    ------
    ValueError
        It is of another kind, of a newer version, or damaged.
    """
    content = memoryview(data)
    if len(content) < _HEADER.size:
        raise ValueError(f"{len(content)} bytes are no {kind.decode()}: they are cut short")
    found, version, checksum = _HEADER.unpack_from(content)
    if found != kind:
        raise ValueError(f"these bytes are no {kind.decode()}: they begin with {found!r}")
    if version != VERSION:
        raise ValueError(f"{kind.decode()} of version {version}; this Verger reads version {VERSION}")
    if zlib.crc32(content[_HEADER.size :]) != checksum:
        raise ValueError(f"{kind.decode()} is damaged: its checksum is another")
    return content[_HEADER.size :]
