"""Logging: plain lines on a terminal, one JSON object a line anywhere else.

An event is a sentence and its fields: `log.info("micro-batch", extra=fields(pictures=512, rejected=3))`.
"""

import json
import logging
import sys
import time
from typing import Any, TextIO

NAME = "verger"


def logger() -> logging.Logger:
    """Return the one logger of the product."""
    return logging.getLogger(NAME)


def fields(**values: Any) -> dict[str, Any]:
    """Return `values` in the shape that `extra=` of a logging call takes."""
    return {"fields": values}


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send the product's log to `stream` (standard error), replacing what an earlier call set up."""
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    on_terminal = target.isatty()
    handler.setFormatter(_Plain() if on_terminal else _JsonLines())
    log = logger()
    log.handlers[:] = [handler]
    log.propagate = False
    # A person at a terminal has the live line; the log adds only what needs attention.
    log.setLevel(max(level, logging.WARNING) if on_terminal and level == logging.INFO else level)


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
        return json.dumps(line, default=str, ensure_ascii=False)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        details = "  ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        text = f"{record.levelname.lower()}: {record.getMessage()}  {details}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text
