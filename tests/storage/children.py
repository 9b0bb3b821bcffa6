"""Servers of the tests run in processes of their own: their work does not share the tests' interpreter lock."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from threading import Thread

_ROOT = Path(__file__).parents[2]
_PATIENCE = 60.0


@contextmanager
def child(module: str, *arguments: str) -> Iterator[str]:
    """Run a module of this repository as a process for the length of a `with` block.

    Parameters
    ----------
    module
        Such as `tests.storage.proxy`. It prints its address as its first line once it listens, and ends when its
        standard input does: so it dies with the tests, however these end.

    Yields
    ------
    str
        The first line.

    Raises
    ------
    RuntimeError
        It ended, or was silent for a minute.
    """
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        try:
            yield _first_line(process, module)
        finally:
            process.kill()


def _first_line(process: subprocess.Popen[str], module: str) -> str:
    assert process.stdout is not None
    heard, _, _ = select([process.stdout], [], [], _PATIENCE)
    line = process.stdout.readline().strip() if heard else ""
    if not line:
        raise RuntimeError(f"{module} did not start: run `python -m {module}` to see why")
    return line


def end_with_parent() -> None:
    """Let this process, which a `child` is, end when its standard input does."""
    Thread(target=_await_end, name="parent", daemon=True).start()


def _await_end() -> None:
    # Unbuffered: a thread that holds the lock of `sys.stdin` would abort the interpreter's own end.
    while os.read(0, 1024):
        pass
    os._exit(0)
