"""A small file that unfolds to much takes a bounded part of a worker's memory, in every format."""

import json
import os
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conf.errors import OutageError, Rejected
from conf.object_storage import ObjectStorage
from conf.rejections import Reason
from conf.storage import FolderStorage, folder_e_tag
from conf.uris import uri_of
from streaming.backbones.backbone import Preparation
from streaming.decode import decode
from streaming.diagnosis import FORMATS
from streaming.isolate import IsolatedDecoder
from streaming.worker import Work
from tests.security.bombs import BOMBS, NO_ROOM, PIXEL_LIMIT
from tests.storage.answering import Answer, answering

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process so, and tells its size")
# Of what a process has mapped, it may touch some while it decodes: the bound is on what it maps.
_MAPPED = 32 << 20
ROOM = Work.decode_bytes.fget(SimpleNamespace(pixel_limit=PIXEL_LIMIT))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def weighed() -> dict[str, tuple[str, int, float]]:
    """Decode all bombs, each in a process of its own: outcome, growth in bytes, seconds, by name."""
    program = [sys.executable, "-m", "tests.security.weighing", str(ROOM)]
    done = subprocess.run(program, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    return {
        name: (outcome, grown, seconds)
        for name, outcome, grown, seconds in map(json.loads, done.stdout.split("\n")[:-1])
    }


@linux
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_rejected_within_the_memory_of_a_worker(
    name: str, weighed: dict[str, tuple[str, int, float]]
) -> None:
    """What says how large it is, is rejected unopened; what hides it, when there is no more room."""
    outcome, grown, seconds = weighed[name]
    assert outcome == BOMBS[name].outcome
    assert grown < (ROOM + _MAPPED if outcome == NO_ROOM else 100 << 20)
    assert seconds < 20


def test_there_is_a_bomb_of_every_format() -> None:
    """Whoever adds a format adds bombs of it."""
    assert all(any(format.lower() in name.split() for name in BOMBS) for format in (*FORMATS, "MPO"))


@linux
def test_want_of_room_becomes_a_rejection() -> None:
    """The next attempt, in a process of its own, tells that it was the picture."""
    bomb = next(bomb for bomb in BOMBS.values() if bomb.outcome == NO_ROOM)
    with IsolatedDecoder(decode, seconds=60, room=ROOM) as decoder, pytest.raises(Rejected) as raised:
        decoder(bomb.make(), Preparation(32), PIXEL_LIMIT)
    assert raised.value.reason is Reason.CRASHED
    assert "it needs more than 0.28" in raised.value.detail


LIMIT = 1000


def read(answer: Answer, size: int) -> bytes:
    """Read an object that was listed with a size, from a store that gives this answer."""
    with answering(lambda _: answer) as way:
        storage = ObjectStorage("s3://bucket/x", replace(way, whose="anonymous"))
        return storage.read("s3://bucket/x/1.jpg", "t", size, LIMIT)


@pytest.mark.parametrize(
    ("length", "held", "listed", "says"),
    [
        (1 << 40, 10, 10, "arrived as t of 10 bytes, now t of 1099511627776"),
        (5000, 5000, 10, "arrived as t of 10 bytes, now t of 5000"),
        (10, 5000, 5000, "arrived as t of 5000 bytes, now t of 10"),
        (5000, 5000, 5000, "5000 bytes, the limit is 1000"),
        (10, 5, 10, "s3://bucket/x/1.jpg: Generic"),
    ],
    ids=["says much", "has much", "says little", "as listed", "breaks off"],
)
def test_an_object_that_lies_about_its_length_is_not_read(length: int, held: int, listed: int, says: str) -> None:
    """What it says is held against the listing and the limit before a byte of it is taken."""
    with pytest.raises((Rejected, OutageError), match=re.escape(says)):
        read(Answer(body=b"x" * held, e_tag='"t"', length=length), listed)


def test_an_object_gives_no_more_than_it_said() -> None:
    """Whatever else comes along the connection."""
    assert read(Answer(body=b"x" * 5000, e_tag='"t"', length=10), 10) == b"x" * 10


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    """A hole of a terabyte takes no room on the disk, and none in memory."""
    path = tmp_path / "hole.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    e_tag = folder_e_tag(path.stat())
    with pytest.raises(Rejected) as raised:
        FolderStorage(str(tmp_path)).read(uri_of(path), e_tag, 1 << 40, LIMIT)
    assert raised.value.reason is Reason.TOO_MANY_BYTES


@linux
def test_a_file_that_grows_while_it_is_read_is_no_more_than_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes on must not fill a worker's memory: what has come since is not read, and the file has changed."""
    path = tmp_path / "growing.jpg"
    path.write_bytes(b"x" * 10)
    e_tag, looks = folder_e_tag(path.stat()), []
    check = FolderStorage._check

    def grown_after_the_first_look(status: os.stat_result, *given: Any) -> None:
        looks.append(status.st_size)
        check(status, *given)
        if len(looks) == 1:
            os.truncate(path, 1 << 33)

    monkeypatch.setattr(FolderStorage, "_check", staticmethod(grown_after_the_first_look))
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS, (int(Path("/proc/self/statm").read_text().split()[0]) * 4096 + (1 << 31), hard)
    )
    try:
        with pytest.raises(Rejected) as raised:
            FolderStorage(str(tmp_path)).read(uri_of(path), e_tag, 10, LIMIT)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert (raised.value.reason, looks) == (Reason.CHANGED, [10, 1 << 33])
