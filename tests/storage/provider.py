"""moto's server as a program: S3, SQS, SNS and EventBridge on one port of this machine, in memory."""

from http import HTTPStatus
from io import BytesIO
from threading import Lock
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from tests.storage import queues
from tests.storage.children import end_with_parent

_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_ONE_AT_A_TIME = Lock()


class KeepingAlive(MotoRequestHandler):
    """Answers on connections that stay open, as S3's do; moto's own server closes each after one answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def run_wsgi(self) -> None:
        """Answer one request."""
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        parts, status, headers = self._application_answers(self._whole(self.make_environ()))
        body = b"".join(parts)
        self.send_response(int(status[:3]), status[4:])
        for name, value in headers:
            self.send_header(name, value)
        if "Content-Length" not in headers and int(status[:3]) not in _BODILESS:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""

    def _whole(self, environ: dict[str, Any]) -> dict[str, Any]:
        length = () if environ.get("wsgi.input_terminated") else (int(environ.get("CONTENT_LENGTH") or 0),)
        body = environ["wsgi.input"].read(*length)
        return environ | {"wsgi.input": BytesIO(body), "wsgi.input_terminated": True}

    def _application_answers(self, environ: dict[str, Any]) -> Any:
        # A long poll holds up nobody.
        if "/sqs/" in environ.get("HTTP_AUTHORIZATION", ""):
            return run_wsgi_app(self.server.app, environ, buffered=True)
        # moto compares If-Match in one step and writes in another, and lists keys while others come.
        with _ONE_AT_A_TIME:
            return run_wsgi_app(self.server.app, environ, buffered=True)


def serve() -> None:
    """Serve until the parent is gone."""
    end_with_parent()
    queues.quicken()
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=KeepingAlive)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve()
