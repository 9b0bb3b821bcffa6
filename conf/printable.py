"""Texts from outside, such as labels and the names of files, as a terminal or a line of the log may show them.

A name may hold any character: an escape sequence that repaints the screen, a line break that forges a line of the log,
a mark that turns the direction of what follows. Such characters are spelled out; all others stay as they are.
"""

import json
import re

# Controls of both sets, marks of direction, breaks of lines and paragraphs, what is invisible, halves of pairs. Not the
# two joiners (U+200C, U+200D), without which some scripts cannot be written.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Return a text in one line, with what cannot be seen spelled as Python does: ``\x1b``, ``\n``, ``\u202e``."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_json(text: str) -> str:
    r"""Return a text of JSON in one line, and equal to it: what cannot be seen is spelled as JSON does."""
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)
