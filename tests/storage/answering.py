"""A store that gives the answers of a script, for what no emulator says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from conf.access import Access
from tests.unit.lakes import MORNING

MODIFIED = format_datetime(MORNING, usegmt=True)


@dataclass(frozen=True)
class Answer:
    """One answer; a status of 0 breaks the connection."""

    status: int = 200
    body: bytes = b""
    e_tag: str = ""
    length: int | None = None


@dataclass(frozen=True)
class Request:
    """What was asked: `GET /bucket/key`, and the headers by their lower-case names."""

    line: str
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, message: str = "says the store") -> Answer:
    """Give an error as S3 words it."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


def page(*keys: str) -> Answer:
    """Give a listing of these keys."""
    found = "".join(
        f'<Contents><Key>{key}</Key><LastModified>2026-03-01T08:00:00.000Z</LastModified><ETag>"t"</ETag>'
        "<Size>3</Size></Contents>"
        for key in keys
    )
    text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
    return Answer(body=text.encode())


@contextmanager
def answering(script: Callable[[Request], Answer]) -> Iterator[Access]:
    """Answer each request as `script` says, for the length of a `with` block; give the way there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = script(Request(f"GET {self.path}", headers))
            self.close_connection = True
            if not answer.status:
                return
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            self.send_header("Last-Modified", MODIFIED)
            if answer.e_tag:
                self.send_header("ETag", answer.e_tag)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Access(endpoint=f"http://127.0.0.1:{server.server_port}", region="us-east-1")
        finally:
            server.shutdown()
            thread.join()
