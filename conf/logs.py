"""Logging: plain lines on a terminal, one JSON object a line anywhere else.

An event is a sentence and its fields: `log.info("micro-batch", extra=fields(pictures=512, rejected=3))`. It stays one
line whatever names stand in it, and holds no secret.
"""

import copy
import json
import logging
import sys
import time
from typing import Any, TextIO

from conf.errors import first_line
from conf.printable import printable, printable_json
from conf.redaction import redacted

NAME = "verger"


def logger() -> logging.Logger:
    """Return the one logger of the product."""
    return logging.getLogger(NAME)


def fields(**values: Any) -> dict[str, Any]:
    """Return `values` in the shape that `extra=` of a logging call takes."""
    return {"fields": values}


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send the product's log to `stream` (standard error), replacing what an earlier call set up.

    What libraries warn of goes there, too, each on a line.
    """
    target = stream or sys.stderr
    on_terminal = target.isatty()
    handler, others = logging.StreamHandler(target), _OfOthers(target)
    for each in (handler, others):
        each.setFormatter(_Plain() if on_terminal else _JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [*(each for each in root.handlers if not isinstance(each, _OfOthers)), others]
    log = logger()
    log.handlers[:] = [handler]
    log.propagate = False
    # A person at a terminal has the live line; the log adds only what needs attention.
    log.setLevel(max(level, logging.WARNING) if on_terminal and level == logging.INFO else level)


class _OfOthers(logging.StreamHandler[TextIO]):
    """Tells what a library says without its traceback: py4j has one for each connection to a JVM that died."""

    def emit(self, record: logging.LogRecord) -> None:
        told = copy.copy(record)
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, KeyboardInterrupt):
            # Whoever pressed Ctrl-C knows.
            return
        told.exc_info = told.exc_text = None
        told.__dict__.update(fields(logger=record.name, **({"error": first_line(error)} if error else {})))
        super().emit(told)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "at": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return printable_json(redacted(json.dumps(line, default=str, ensure_ascii=False)))


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        details = "  ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        text = f"{record.levelname.lower()}: {record.getMessage()}  {details}".rstrip()
        # Only a traceback has lines of its own.
        lines = [text, *(self.formatException(record.exc_info).split("\n") if record.exc_info else ())]
        return "\n".join(printable(redacted(each)) for each in lines)
