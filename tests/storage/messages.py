"""HTTP/1.1 messages on their way: heads as they came, bodies passed on piece by piece (RFC 9112)."""

import re
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from dataclasses import dataclass

PIECE = 1 << 18
_BODILESS = (204, 304)


@dataclass(frozen=True)
class Head:
    """The first line and the fields of a message, with the empty line that ends them."""

    raw: bytes

    @property
    def start(self) -> list[str]:
        """The words of the first line: method, target, version; or version, status, reason."""
        return self.raw[: self.raw.index(b"\r\n")].decode("latin-1").split(" ", 2)

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.start[1])

    def field(self, name: str) -> str:
        """Return a field's value, empty where it is missing."""
        found = re.search(rb"(?i)\r\n" + name.encode() + rb":[ \t]*([^\r]*)", self.raw)
        return found[1].decode("latin-1").strip() if found else ""

    def without(self, name: str) -> "Head":
        """Return it less a field."""
        return Head(re.sub(rb"(?i)\r\n" + name.encode() + rb":[^\r]*", b"", self.raw))

    def with_field(self, name: str, value: str) -> "Head":
        """Return it with a field set."""
        return Head(self.without(name).raw[:-2] + f"{name}: {value}\r\n\r\n".encode("latin-1"))

    @property
    def lasting(self) -> bool:
        """Whether the connection stays open after this message."""
        return b"HTTP/1.1" in self.raw[: self.raw.index(b"\r\n")] and "close" not in self.field("Connection").lower()


async def read_head(reader: StreamReader) -> Head | None:
    """Read a head; nothing where the connection ended before one."""
    try:
        return Head(await reader.readuntil(b"\r\n\r\n"))
    except IncompleteReadError:
        return None


def request_length(head: Head) -> int | None:
    """Return how many bytes the body of a request has; None: it is chunked."""
    return None if _chunked(head) else int(head.field("Content-Length") or 0)


def answer_length(head: Head, method: str) -> int | None:
    """Return how many bytes the body of an answer has; None: it is chunked; -1: it ends with the connection."""
    if method == "HEAD" or head.status in _BODILESS:
        return 0
    return None if _chunked(head) else int(head.field("Content-Length") or -1)


def _chunked(head: Head) -> bool:
    return head.field("Transfer-Encoding").lower() == "chunked"


async def relay(reader: StreamReader, writer: StreamWriter | None, length: int | None) -> None:
    """Pass a body on, or over where there is no writer.

    Raises
    ------
    ConnectionResetError
        It ended early.
    """
    if length is None:
        await _relay_chunks(reader, writer)
    while length:
        piece = await reader.read(PIECE if length < 0 else min(length, PIECE))
        if not piece and length > 0:
            raise ConnectionResetError("the body ended early")
        if not piece:
            return
        length -= len(piece) if length > 0 else 0
        await _pass(piece, writer)


async def _relay_chunks(reader: StreamReader, writer: StreamWriter | None) -> None:
    size = -1
    while size:
        line = await reader.readuntil(b"\r\n")
        await _pass(line, writer)
        size = int(line.split(b";")[0], 16)
        if size:
            await relay(reader, writer, size + 2)
    # Trailers, up to an empty line.
    while line != b"\r\n":
        line = await reader.readuntil(b"\r\n")
        await _pass(line, writer)


async def _pass(piece: bytes, writer: StreamWriter | None) -> None:
    if writer is not None:
        writer.write(piece)
        await writer.drain()
