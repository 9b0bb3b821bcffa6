"""The folder through which commands ask and the driver answers.

A request is a file `requests/<id>.json`; its answer becomes `requests/answers/<id>.json` and takes its place. Ids begin
with the time, so that names give the order.
"""

import json
import time
from contextlib import suppress

from conf.errors import LakeError, StorageError, first_line
from conf.files import write_atomically
from conf.logs import fields, logger
from conf.uris import Place
from streaming.commands.requests import Answer, Request

_ANSWERS_KEPT = 7 * 86400.0


def submit(folder: Place, request: Request) -> None:
    """Leave a request in the lake's folder of requests.

    Raises
    ------
    LakeError
        It cannot be written.
    """
    try:
        write_atomically(_place(folder, request.id), request.to_json().encode())
    except OSError as error:
        raise LakeError(f"the lake cannot be written: {folder}: {error.strerror or error}") from error


def pending(folder: Place) -> list[Request]:
    """Return what has no answer yet, oldest first.

    What cannot be read moves to `unreadable/` below the folder and is answered with a failure.

    Raises
    ------
    StorageError
        The folder does not answer.
    """
    try:
        names = sorted(each.name for each in folder.iterdir() if each.suffix == ".json" and each.name[0] != ".")
        return [request for name in names if (request := _read(folder, name.removesuffix(".json")))]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"requests cannot be read: {error}") from error


def answer(folder: Place, request: Request, answer: Answer) -> None:
    """Put an answer in its request's place, and clear away answers of more than a week ago.

    Raises
    ------
    StorageError
        It cannot be written; the request stays.
    """
    try:
        _answer(folder, request.id, answer)
        _clean(folder, time.time() - _ANSWERS_KEPT)
    except OSError as error:
        raise StorageError(f"the answer to a request cannot be written: {error}") from error


def answer_of(folder: Place, request_id: str) -> Answer | None:
    """Return the answer to a request, None while there is none."""
    try:
        found = json.loads(_place(folder / "answers", request_id).read_text("utf-8"))
        return Answer(found["sentence"], found["facts"], found["exit_code"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _place(folder: Place, request_id: str) -> Place:
    return folder / f"{request_id}.json"


def _read(folder: Place, request_id: str) -> Request | None:
    path = _place(folder, request_id)
    if _place(folder / "answers", request_id).exists():
        # It was done; only taking it away was not.
        path.unlink(missing_ok=True)
        return None
    try:
        return Request.from_json(request_id, path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (PermissionError, IsADirectoryError, ValueError, KeyError, TypeError, RecursionError) as error:
        _refuse(folder, request_id, first_line(error))
        return None


def _refuse(folder: Place, request_id: str, why: str) -> None:
    aside = folder / "unreadable" / f"{request_id}.json"
    aside.parent.mkdir(exist_ok=True)
    _place(folder, request_id).replace(aside)  # type: ignore[arg-type]  # both lie in the same place
    logger().warning("a request cannot be read", extra=fields(request=request_id, why=why, moved_to=str(aside)))
    _answer(folder, request_id, Answer(f"the request could not be read ({why}); it lies at {aside}", exit_code=1))


def _answer(folder: Place, request_id: str, answer: Answer) -> None:
    content = {"sentence": answer.sentence, "facts": dict(answer.facts), "exit_code": answer.exit_code}
    write_atomically(_place(folder / "answers", request_id), json.dumps(content, indent=2).encode())
    _place(folder, request_id).unlink(missing_ok=True)


def _clean(folder: Place, before: float) -> None:
    """Delete old answers, and what crashes left of half-written files, which may name pictures."""
    for place in (folder / "answers", folder / "unreadable", folder):
        for path in place.glob(".*" if place == folder else "*"):
            with suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()
