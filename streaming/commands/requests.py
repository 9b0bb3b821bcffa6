"""What commands ask of the driver, who alone writes the tables, and what it answers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from conf import lease
from conf.errors import UsageError
from conf.lake import LakePaths
from conf.rejections import Reason
from streaming.commands.selection import Selection


class Kind(StrEnum):
    """What can be asked."""

    RETRY = "retry"
    FORGET = "forget"
    RECALL = "recall"
    DROP = "drop"
    STOP = "stop"
    UPKEEP = "upkeep"


@dataclass(frozen=True)
class Request:
    """One request; which fields matter is a matter of its kind.

    Attributes
    ----------
    kind : Kind
    id : str
        Begins with the time.
    requested_at : datetime
        UTC.
    selection : Selection
        Of forget and recall, and the prefix for retry.
    reasons : tuple of str
        Of retry; none: those that another try can help.
    featurizer : str
        Of drop and retry: an id or the beginning of one; empty: all of them.
    driver : str
        Of stop: who held the lease; a later driver is not meant.
    """

    kind: Kind
    id: str
    requested_at: datetime
    selection: Selection = field(default_factory=Selection)
    reasons: tuple[str, ...] = ()
    featurizer: str = ""
    driver: str = ""

    def to_json(self) -> str:
        """Give the request as it stands in its file, whose name is the id."""
        content = {
            "kind": self.kind.value,
            "requested_at": self.requested_at.isoformat(),
            "uris": list(self.selection.uris),
            "prefix": self.selection.prefix,
            "reasons": list(self.reasons),
            "featurizer": self.featurizer,
            "driver": self.driver,
        }
        return json.dumps(content, indent=2)

    @classmethod
    def from_json(cls, request_id: str, text: str) -> "Request":
        """Read `to_json` back.

        Raises
        ------
        ValueError, KeyError, TypeError, RecursionError
            The text is no request that this version knows.
        """
        found = json.loads(text)
        requested_at = datetime.fromisoformat(found["requested_at"])
        if requested_at.tzinfo is None:
            raise ValueError("requested_at has no time zone")
        return cls(
            kind=Kind(found["kind"]),
            id=request_id,
            requested_at=requested_at,
            selection=Selection(_texts(found["uris"]), _text(found["prefix"])),
            reasons=_texts(found["reasons"]),
            featurizer=_text(found["featurizer"]),
            driver=_text(found["driver"]),
        )


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes
    ----------
    sentence : str
        For a person. Neither it nor the facts name a forgotten picture.
    facts : Mapping
        For a program: counts, plain JSON.
    exit_code : int
        What the command returns: 0 done, 1 failed, 2 it was asked wrongly.
    """

    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int = 0


def retry(reasons: Sequence[str] = (), selection: Selection | None = None, featurizer: str = "") -> Request:
    """Ask for another attempt at rejected pictures.

    Parameters
    ----------
    reasons
        Reasons of rejections; none: those that another attempt can help.
    selection
        Its prefix limits the pictures; none: all.
    featurizer
        Whose rejections; empty: every featurizer's.

    Raises
    ------
    UsageError
        There is no such reason.
    """
    request = _new(Kind.RETRY, selection or Selection())
    return replace(request, reasons=known_reasons(reasons), featurizer=featurizer)


def forget(selection: Selection) -> Request:
    """Ask for a takedown: the rows of pictures go, and what lies in the landing does not arrive again."""
    return _new(Kind.FORGET, _something(selection))


def recall(selection: Selection) -> Request:
    """Ask for the end of a takedown: what lies in the landing may arrive again."""
    return _new(Kind.RECALL, _something(selection))


def drop(featurizer: str) -> Request:
    """Ask for everything of one featurizer to go: rows, checkpoint and compiled backbone."""
    if not featurizer:
        raise UsageError("which featurizer is to be dropped? Give its id or the beginning of it")
    return replace(_new(Kind.DROP), featurizer=featurizer)


def stop(lake: LakePaths) -> Request:
    """Ask the driver that streams into the lake at this moment to end."""
    return replace(_new(Kind.STOP), driver=_driver(lake))


def upkeep() -> Request:
    """Ask for upkeep now."""
    return _new(Kind.UPKEEP)


def stops(request: Request, lake: LakePaths) -> bool:
    """Whether a request tells the driver that holds the lease now to end; not where an earlier driver was meant."""
    return request.kind is Kind.STOP and request.driver == _driver(lake) != ""


def known_reasons(texts: Iterable[str]) -> tuple[str, ...]:
    """Return reasons of rejections as the tables spell them.

    Raises
    ------
    UsageError
        One is not among them.
    """
    reasons = tuple(dict.fromkeys(text.strip().lower().replace("-", "_") for text in texts))
    unknown = [each for each in reasons if each not in {known.value for known in Reason}]
    if unknown:
        raise UsageError(f"--reason {unknown[0]}: no such reason; there are {', '.join(each.value for each in Reason)}")
    return reasons


def amount(number: int, noun: str) -> str:
    """Return a number and its noun as an answer says them: `1 picture`, `1,200 pictures`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _new(kind: Kind, selection: Selection | None = None) -> Request:
    now = datetime.now(UTC)
    return Request(kind, f"{now:%Y%m%dT%H%M%S%fZ}-{uuid4().hex}", now, selection or Selection())


def _something(selection: Selection) -> Selection:
    if selection == Selection():
        raise UsageError("which pictures? Give their paths or URIs, or --prefix")
    return selection


def _driver(lake: LakePaths) -> str:
    """Return who holds the lease of the stream, in a text; empty where nobody does."""
    held = lease.holder(lake.lease("stream"))
    return "" if held is None else " ".join(str(held.get(name, "?")) for name in ("pid", "host", "since"))


def _texts(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list):
        raise TypeError(f"not a list: {found!r}")
    return tuple(map(_text, found))


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise TypeError(f"not a text: {found!r}")
    return found
