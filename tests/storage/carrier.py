"""A proxy's inside: carries requests from its clients to one server, and strikes some of them."""

import asyncio
import json
import socket
import struct
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from dataclasses import asdict, replace
from http import HTTPStatus

from tests.storage.faults import KINDS, Blow, Dice, Faults
from tests.storage.messages import PIECE, Head, answer_length, read_head, relay, request_length

CONTROL = "/_proxy"

_CODES = {"slow_down": (503, "SlowDown"), "internal_error": (500, "InternalError"), "bad_gateway": (502, "BadGateway")}


class Reset(Exception):
    """The client's connection is to break, without another byte."""


class Carrier:
    """Carries what its clients send to one server.

    Parameters
    ----------
    host, port
        The server.
    faults
        What it does to the requests; `control` changes it.
    """

    def __init__(self, host: str, port: int, faults: Faults) -> None:
        self._server = host, port
        self._dice = Dice(faults)
        self.counts = dict.fromkeys(("requests", *KINDS), 0)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        trip = Trip(self, reader, writer)
        try:
            while await trip.once():
                pass
        except Reset:
            _break(writer)
        except (ConnectionError, IncompleteReadError):
            pass
        finally:
            trip.close()

    def fate(self, request: str) -> tuple[Blow, float]:
        """Decide what strikes a request, and how many seconds it waits."""
        self.counts["requests"] += 1
        if not self._dice.faults.concern(request):
            return Blow(), 0.0
        return self._dice.roll(), self._dice.faults.latency

    async def connect(self) -> tuple[StreamReader, StreamWriter]:
        """Open a connection to the server."""
        return await asyncio.open_connection(*self._server, limit=PIECE)

    def control(self, wanted: bytes) -> bytes:
        """Take other faults, where some are wanted, and tell what has been counted."""
        if wanted:
            self._dice = Dice(parse_faults(wanted))
        return json.dumps(self.counts).encode()


class Trip:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(self, carrier: Carrier, reader: StreamReader, writer: StreamWriter) -> None:
        self._carrier = carrier
        self._client = reader, writer
        self._server: tuple[StreamReader, StreamWriter] | None = None

    async def once(self) -> bool:
        """Carry one request and its answer; whether another may follow."""
        head = await read_head(self._client[0])
        if head is None:
            return False
        method, target, _ = head.start
        if head.field("Expect"):
            self._client[1].write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if target == CONTROL:
            return await self._control(head)
        blow, latency = self._carrier.fate(f"{method} {target}")
        if latency:
            await asyncio.sleep(latency)
        return await self._carry(head.without("Expect"), _fitting(blow, method))

    def close(self) -> None:
        """Close both connections."""
        self._client[1].close()
        self._hang_up()

    async def _control(self, head: Head) -> bool:
        wanted = await self._client[0].readexactly(request_length(head) or 0)
        self._answer(200, self._carrier.control(wanted), "application/json")
        return True

    async def _carry(self, head: Head, blow: Blow) -> bool:
        if blow.kind == "reset" and not blow.late:
            self._reset()
        if blow.kind in _CODES:
            await relay(self._client[0], None, request_length(head))
            return self._fail(blow.kind, head)
        try:
            answer = await self._ask(head)
        except OSError as error:
            self._fail("bad_gateway", head, str(error))
            # What is left of the request cannot be told from the next one.
            return False
        return await self._give(head, answer, blow.kind)

    async def _ask(self, head: Head) -> Head:
        """Pass a request on and return the head of its answer."""
        if self._server is None or self._server[0].at_eof():
            self._hang_up()
            self._server = await self._carrier.connect()
        reader, writer = self._server
        writer.write(head.raw)
        await relay(self._client[0], writer, request_length(head))
        answer = await read_head(reader)
        while answer is not None and answer.status < HTTPStatus.OK:
            answer = await read_head(reader)
        if answer is None:
            raise ConnectionResetError("the server ended the connection without an answer")
        return answer

    async def _give(self, head: Head, answer: Head, kind: str) -> bool:
        """Hand an answer on, or what a blow leaves of it."""
        assert self._server is not None
        method = head.start[0]
        length = answer_length(answer, method)
        if kind == "truncated" and length and length > 0:
            return await self._truncate(answer, length)
        if kind in ("reset", "truncated"):
            self._reset()
        if kind == "etag" and not answer.field("ETag"):
            await relay(self._server[0], None, length)
            return self._fail("slow_down", head)
        if kind == "etag":
            self._carrier.counts["etag"] += 1
            # Never twice the same: two wrong ones do not confirm each other.
            answer = answer.with_field("ETag", f'"{self._carrier.counts["requests"]:032x}"')
        self._client[1].write(answer.raw)
        await relay(self._server[0], self._client[1], length)
        return length != -1 and head.lasting and answer.lasting

    async def _truncate(self, answer: Head, length: int) -> bool:
        assert self._server is not None
        self._carrier.counts["truncated"] += 1
        self._client[1].write(answer.raw)
        await relay(self._server[0], self._client[1], length // 2)
        return False

    def _reset(self) -> None:
        self._carrier.counts["reset"] += 1
        raise Reset

    def _fail(self, kind: str, head: Head, why: str = "injected by the proxy") -> bool:
        self._carrier.counts[kind] = self._carrier.counts.get(kind, 0) + 1
        status, code = _CODES[kind]
        xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{why}</Message></Error>'
        self._answer(status, xml.encode(), "application/xml", bodiless=head.start[0] == "HEAD")
        return head.lasting

    def _answer(self, status: int, body: bytes, media: str, *, bodiless: bool = False) -> None:
        first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        fields = f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._client[1].write((first + fields).encode() + (b"" if bodiless else body))

    def _hang_up(self) -> None:
        if self._server is not None:
            self._server[1].close()
            self._server = None


def encode_faults(faults: Faults) -> bytes:
    """Write faults as JSON."""
    return json.dumps(asdict(faults)).encode()


def parse_faults(data: bytes) -> Faults:
    """Read faults from JSON."""
    found = json.loads(data)
    return Faults(**found | {"kinds": tuple(found["kinds"])})


def _fitting(blow: Blow, method: str) -> Blow:
    """Replace a blow that cannot strike this method."""
    if blow.kind == "truncated" and method != "GET":
        return replace(blow, kind="reset")
    if blow.kind == "etag" and method not in ("GET", "HEAD"):
        return replace(blow, kind="slow_down")
    return blow


def _break(writer: StreamWriter) -> None:
    # To linger for no time makes closing a reset.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def carry(server: tuple[str, int], faults: Faults) -> None:
    """Listen on a free port of this machine, print the address, and carry until cancelled."""
    carrier = Carrier(*server, faults)
    listening = await asyncio.start_server(carrier.serve, "127.0.0.1", 0, limit=PIECE, backlog=1024)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    await listening.serve_forever()
