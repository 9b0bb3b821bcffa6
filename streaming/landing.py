"""What counts as a landed picture, and which label it carries. Pure: names in, answers out."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from conf.errors import UsageError

# How programs name files that they are still writing, and what desktops leave behind.
_TEMPORARY_SUFFIXES = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".filepart", ".swp", "~")
# Not every leading underscore: cameras write _DSC0001.jpg.
_LITTER = frozenset({"thumbs.db", "desktop.ini", "_success", "_temporary", "_delta_log", "_spark_metadata"})


class Kind(Enum):
    """What a file name says."""

    PICTURE = "picture"
    HIDDEN = "hidden"
    TEMPORARY = "temporary"
    SKIPPED = "skipped"
    MARKER = "folder_marker"


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or left behind by a desktop or by Hadoop."""
    return name.startswith(".") or name.lower() in _LITTER


@dataclass(frozen=True)
class NameRule:
    """Tells pictures from other names; a picture's format is told by its bytes, never by its name.

    Attributes
    ----------
    skip : frozenset of str
        Lower-case extensions, without the dot, of files that are no pictures.
    """

    skip: frozenset[str]

    def kind(self, name: str) -> Kind:
        """Classify the last segment of a path or key."""
        lowered = name.lower()
        if is_hidden(lowered):
            return Kind.HIDDEN
        if lowered.endswith(_TEMPORARY_SUFFIXES):
            return Kind.TEMPORARY
        _, dot, extension = lowered.rpartition(".")
        return Kind.SKIPPED if dot and extension in self.skip else Kind.PICTURE

    def kind_below(self, path: str) -> Kind:
        """Classify a path below the landing, with all its segments: what lies in a hidden folder is hidden."""
        *folders, name = path.split("/")
        if not name:
            return Kind.MARKER
        hidden = any(is_hidden(each) for each in folders if each not in ("", ".", ".."))
        return Kind.HIDDEN if hidden else self.kind(name)


def parse_skip(text: str) -> NameRule:
    """Return the rule for a comma-separated list of extensions."""
    return NameRule(frozenset(each.strip().lower().removeprefix(".") for each in text.split(",") if each.strip()))


def labeller(rule: str, landing_uri: str) -> Callable[[str], str | None]:
    """Return the function that gives the label of a picture's URI.

    Parameters
    ----------
    rule
        `parent`: the name of the folder that holds the picture, none at the landing's own root; `none`; or a regular
        expression with a group named `label`, searched in the percent-decoded URI.
    landing_uri
        URI of the landing, without a trailing slash.

    Raises
    ------
    UsageError
        The expression is invalid or has no such group.
    """
    if rule == "none":
        return lambda uri: None
    if rule == "parent":
        return lambda uri: _parent(uri, landing_uri)
    pattern = _compiled(rule)
    return lambda uri: _searched(pattern, uri)


def _compiled(rule: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise UsageError(f"--label {rule!r}: neither parent, none nor a regular expression: {error}") from None
    if "label" not in pattern.groupindex:
        raise UsageError(f"--label {rule!r}: the expression needs a group named label: (?P<label>…)")
    return pattern


def _parent(uri: str, landing_uri: str) -> str | None:
    folder = uri.rpartition("/")[0]
    return None if folder == landing_uri.rstrip("/") else unquote(folder.rpartition("/")[2], errors="replace") or None


def _searched(pattern: re.Pattern[str], uri: str) -> str | None:
    found = pattern.search(unquote(uri, errors="replace"))
    return found["label"] if found else None
