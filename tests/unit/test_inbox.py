import json
import logging
import os
import time
from pathlib import Path

import pytest

from conf.errors import LakeError, StorageError
from streaming.commands import inbox, requests
from streaming.commands.requests import Answer, Request
from streaming.commands.selection import Selection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of requests, which is not there yet."""
    return tmp_path / "requests"


def submitted(folder: Path, count: int = 1) -> list[Request]:
    """Leave some requests."""
    made = [requests.forget(Selection((f"file:///{number}.jpg",))) for number in range(count)]
    for each in reversed(made):
        inbox.submit(folder, each)
    return sorted(made, key=lambda each: each.id)


def files(folder: Path) -> list[str]:
    """Give the names of all files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_lake_without_requests_has_none(folder: Path) -> None:
    """Asking creates nothing."""
    assert inbox.pending(folder) == []
    assert inbox.answer_of(folder, "1") is None
    assert not folder.exists()


def test_requests_wait_in_their_order(folder: Path) -> None:
    """Oldest first, whenever their files were written, until they are answered."""
    made = submitted(folder, 3)
    assert inbox.pending(folder) == made
    inbox.answer(folder, made[1], Answer("done"))
    assert inbox.pending(folder) == [made[0], made[2]]


def test_an_answer_takes_the_requests_place(folder: Path) -> None:
    """Nothing else is left of it, and of the pictures that it named."""
    (made,) = submitted(folder)
    answer = Answer("1 picture forgotten", {"pictures": 1, "left_out": {"gone": 2}}, exit_code=1)
    inbox.answer(folder, made, answer)
    assert files(folder) == [f"answers/{made.id}.json"]
    assert inbox.answer_of(folder, made.id) == answer
    assert "0.jpg" not in (folder / "answers" / f"{made.id}.json").read_text()


def test_an_answered_request_is_not_executed_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the answer and taking the request away is made good at the next look."""
    (made,) = submitted(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, missing_ok=False: (_ for _ in ()).throw(OSError(5, "crash")))
        with pytest.raises(StorageError, match="the answer to a request cannot be written"):
            inbox.answer(folder, made, Answer("done"))
    assert len(files(folder)) == 2
    assert inbox.pending(folder) == []
    assert files(folder) == [f"answers/{made.id}.json"]


def test_half_written_requests_are_not_seen(folder: Path) -> None:
    """A file appears whole; what a crash left under another name is no request."""
    (made,) = submitted(folder)
    (folder / f".{made.id}.json.0123").write_text('{"kind"')
    (folder / ".hidden.json").write_text("{")
    (folder / "notes.txt").write_text("")
    assert inbox.pending(folder) == [made]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"kind": "conquer"}', b"[" * 100_000], ids=range(5))
def test_an_unreadable_request_moves_aside(content: bytes, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told of once and answered with a failure, and does not stand in the way of others."""
    caplog.set_level(logging.WARNING, "verger")
    (made,) = submitted(folder)
    (folder / "0.json").write_bytes(content)
    for _ in range(2):
        assert inbox.pending(folder) == [made]
    assert len(caplog.records) == 1
    assert (folder / "unreadable" / "0.json").read_bytes() == content
    answer = inbox.answer_of(folder, "0")
    assert answer is not None
    assert answer.exit_code == 1
    assert "could not be read" in answer.sentence


def test_a_folder_in_a_requests_place_moves_aside(folder: Path) -> None:
    """Whatever has the name of a request is dealt with once."""
    (folder / "0.json").mkdir(parents=True)
    assert inbox.pending(folder) == []
    assert (folder / "unreadable" / "0.json").is_dir()


def test_a_folder_that_does_not_answer_is_a_storage_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver asks again; nothing is taken for unreadable meanwhile."""
    (made,) = submitted(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", lambda path, encoding: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(StorageError, match="Input/output error"):
            inbox.pending(folder)
    assert inbox.pending(folder) == [made]


def test_a_lake_that_cannot_be_written_is_told(folder: Path) -> None:
    """In one line, before anything happened."""
    folder.write_text("a file in the folder's place")
    with pytest.raises(LakeError, match="the lake cannot be written"):
        inbox.submit(folder, requests.upkeep())


def test_old_answers_are_cleared_away(folder: Path) -> None:
    """After a week, with unreadable requests and half-written files of that age; younger ones and requests stay."""
    old, young, waiting, last = submitted(folder, 4)
    inbox.answer(folder, old, Answer("done"))
    inbox.answer(folder, young, Answer("done"))
    (folder / "unreadable").mkdir()
    for name in ("unreadable/0.json", ".1.json.0123", "answers/.2.json.0123"):
        (folder / name).write_text("file:///0.jpg")
    week = time.time() - 7 * 86400 - 60
    for name in (f"answers/{old.id}.json", "unreadable/0.json", ".1.json.0123", "answers/.2.json.0123"):
        os.utime(folder / name, (week, week))
    os.utime(folder / f"{waiting.id}.json", (week, week))
    inbox.answer(folder, last, Answer("done"))
    expected = [f"answers/{young.id}.json", f"answers/{last.id}.json", f"{waiting.id}.json"]
    assert files(folder) == sorted(expected)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"sentence": "x"})])
def test_a_damaged_answer_is_none(text: str, folder: Path) -> None:
    """The command goes on waiting, and says so in the end."""
    (folder / "answers").mkdir(parents=True)
    (folder / "answers" / "1.json").write_text(text)
    assert inbox.answer_of(folder, "1") is None
