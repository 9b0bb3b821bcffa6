"""Secrets are kept out of whatever is shown: the log, messages, `verger config`, Spark's pages and its event log.

Verger is told no key and passes none on. This is for what others say: a store that repeats a token in its refusal, a
setting of Spark that somebody gave a key, a URL with a password in it.
"""

import os
import re

_NAMES = (
    "secret|password|passwd|token|access[._-]?key|account[._-]?key|private[._-]?key|encryption[._-]?key|"
    "[._]sas(?:[._]|$)"
)
# Keys hold slashes that nobody encodes. A name alone is none elsewhere: abfss://CONTAINER@ACCOUNT.
_USERS = r"://[^/@:\s\"'\\]*:[^@\s\"'\\]{1,1000}@|(?<=http)s?://[^/@\s\"'\\]+@"
_SIGNATURE = "[?&](?:sig|signature|x-amz-signature|x-goog-signature)="
# For Spark, which hides the whole value where the name of a setting, or the value itself, holds a match. It contains
# Spark's own default.
SPARK_PATTERN = f"(?i){_NAMES}|{_USERS}|{_SIGNATURE}"
# A shorter one is no secret, and would be found in ordinary words.
_LEAST = 8
_HIDDEN = "***"
_NAME = re.compile(_NAMES, re.IGNORECASE)
# Quotes and backslashes end a value: these may be of the text of JSON around it.
_GIVEN = re.compile(r"(?<![\w.-])([\w.-]+)=[^\s\"'&,;\\]+")
_USER = re.compile(_USERS)
_SIGNED = re.compile(rf"({_SIGNATURE})[^\s\"'&\\]+", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether a setting or a variable of this name holds a secret."""
    return _NAME.search(name) is not None


def redacted(text: str) -> str:
    """Return a text without secrets: those of this process' environment, and what looks like one.

    That is the value behind a name that `is_secret`, a user and password in a URL, and the signature of a signed one.
    """
    for value in _own():
        text = text.replace(value, _HIDDEN)
    text = _GIVEN.sub(lambda found: f"{found[1]}={_HIDDEN}" if is_secret(found[1]) else found[0], text)
    text = _USER.sub(lambda found: f"{found[0].partition('://')[0]}://{_HIDDEN}@", text)
    return _SIGNED.sub(rf"\1{_HIDDEN}", text)


def _own() -> list[str]:
    """Return the secrets of the environment, the longest first: one may contain another."""
    found = {value for name, value in os.environ.items() if is_secret(name) and len(value) >= _LEAST}
    return sorted(found, key=len, reverse=True)
