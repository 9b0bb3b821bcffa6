"""Reach: which lines of Pillow's Python and of the decoder have been run, told once for each line.

Python 3.11 has no `sys.monitoring`. This trace function lets go of a function when every line of it has been seen, and
of an execution that has run very many lines, as most of what is new in it is seen by then.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import PIL

import streaming

_WATCHED = tuple(
    str(path)
    for path in (
        Path(PIL.__file__).parent,
        *(Path(streaming.__file__).with_name(name) for name in ("decode.py", "diagnosis.py")),
    )
)
_MOST_STEPS = 20_000  # a loop through a whole file would take ten times as long, watched


class Reach:
    """The lines run under `watching`, until `taken`."""

    def __init__(self) -> None:
        self._unseen: dict[int, set[int]] = {}
        self._codes: list[CodeType] = []  # keeps their ids theirs
        self._fresh: list[str] = []
        self._steps = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what is run within."""
        self._steps = 0
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(None)

    def taken(self) -> list[str]:
        """Give the lines, as ``file:number``, that were run for the first time since this was last asked."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _enter(self, frame: FrameType, event: str, said: Any) -> Any:
        code = frame.f_code
        if (unseen := self._unseen.get(id(code))) is None:
            self._codes.append(code)
            watched = code.co_filename.startswith(_WATCHED)
            unseen = self._unseen[id(code)] = {line for *_, line in code.co_lines() if line} if watched else set()
        return self._step if unseen else None

    def _step(self, frame: FrameType, event: str, said: Any) -> Any:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            sys.settrace(None)
        unseen = self._unseen[id(frame.f_code)]
        if event == "line" and frame.f_lineno in unseen:
            unseen.discard(frame.f_lineno)
            self._fresh.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        return self._step
