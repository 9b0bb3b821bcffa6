import errno
import os
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest

from conf.errors import DeniedError, Rejected, StorageError
from conf.rejections import Reason
from conf.storage import FolderStorage, Storage, folder_e_tag
from conf.uris import uri_of

LIMIT = 1000


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """Make a landing with one picture of seven bytes."""
    root = tmp_path / "landing"
    root.mkdir()
    (root / "1.jpg").write_bytes(b"picture")
    return root


def read(landing: Path, e_tag: str = "", name: str = "1.jpg", limit: int = LIMIT) -> bytes:
    """Read a picture, by default as the version that lies there."""
    path = landing / name
    return FolderStorage(str(landing)).read(uri_of(path), e_tag or folder_e_tag(path.stat()), 7, limit)


def rejected(landing: Path, e_tag: str = "7-1", **arguments: Any) -> tuple[Reason, str]:
    """Read a picture that is rejected; give the reason and the detail."""
    with pytest.raises(Rejected) as caught:
        read(landing, e_tag, **arguments)
    return caught.value.reason, caught.value.detail


def test_the_bytes_of_the_version_that_arrived(landing: Path) -> None:
    """A picture that lies as it arrived is read whole."""
    assert read(landing) == b"picture"


def test_a_folder_travels_to_workers_and_is_read_there_picture_by_picture(landing: Path) -> None:
    """Handing a file to a thread costs more than reading it."""
    storage: Storage = pickle.loads(pickle.dumps(FolderStorage(str(landing))))
    path = landing / "1.jpg"
    assert storage.read(uri_of(path), folder_e_tag(path.stat()), 7, LIMIT) == b"picture"
    assert storage.ahead == 1


@pytest.mark.parametrize("name", [b"a b%41#\n.jpg", b"\xff\xfe.jpg"])
def test_any_name_is_read(name: bytes, landing: Path) -> None:
    """A URI leads back to the file, also where its name is not UTF-8."""
    (landing / os.fsdecode(name)).write_bytes(name)
    assert read(landing, name=os.fsdecode(name)) == name


def test_an_empty_file_is_read(landing: Path) -> None:
    """No bytes are bytes too: the decoder says what is wrong with them."""
    (landing / "1.jpg").write_bytes(b"")
    assert read(landing) == b""


def test_another_version_is_changed(landing: Path) -> None:
    """The detail tells both versions."""
    now = folder_e_tag((landing / "1.jpg").stat())
    assert rejected(landing, "7-1") == (Reason.CHANGED, f"arrived as 7-1, now {now}")


def test_a_picture_that_changes_while_it_is_read_is_changed(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is looked at before and after: half of one and half of another never pass."""
    status = os.fstat
    calls: list[int] = []

    def fstat(descriptor: int) -> os.stat_result:
        calls.append(descriptor)
        if len(calls) == 2:
            (landing / "1.jpg").write_bytes(b"a new picture")
        return status(descriptor)

    e_tag = folder_e_tag((landing / "1.jpg").stat())
    monkeypatch.setattr(os, "fstat", fstat)
    reason, detail = rejected(landing, e_tag)
    assert reason is Reason.CHANGED
    assert detail.startswith(f"arrived as {e_tag}, now 13-")


def test_the_byte_limit_is_the_most_that_is_read(landing: Path) -> None:
    """As many bytes as the limit are read, one more is rejected."""
    assert read(landing, limit=7) == b"picture"
    e_tag = folder_e_tag((landing / "1.jpg").stat())
    assert rejected(landing, e_tag, limit=6) == (Reason.TOO_MANY_BYTES, "7 bytes, the limit is 6")


def test_a_deleted_picture_is_gone(landing: Path) -> None:
    """The landing answers, the picture is not there."""
    (landing / "1.jpg").unlink()
    assert rejected(landing) == (Reason.GONE, "No such file or directory")


def test_a_picture_whose_folder_became_a_file_is_gone(landing: Path) -> None:
    """A folder of the path that is no folder any more holds no picture."""
    (landing / "Apple").write_text("")
    assert rejected(landing, name="Apple/1.jpg") == (Reason.GONE, "Not a directory")


@pytest.mark.parametrize("target", ["absent.jpg", "loop.jpg"])
def test_a_link_that_leads_nowhere_is_gone(target: str, landing: Path) -> None:
    """A dangling link and a loop of links hold no picture."""
    (landing / "loop.jpg").symlink_to(target)
    assert rejected(landing, name="loop.jpg")[0] is Reason.GONE


def test_a_folder_in_the_pictures_place_is_changed(landing: Path) -> None:
    """What is no file any more is another thing under the same name."""
    (landing / "folder.jpg").mkdir()
    assert rejected(landing, name="folder.jpg")[0] is Reason.CHANGED


def test_a_folder_in_the_pictures_place_leaves_no_descriptor_open(landing: Path) -> None:
    """A worker lives long; each rejected picture gives its descriptor back."""
    (landing / "folder.jpg").mkdir()
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(5):
        rejected(landing, name="folder.jpg")
    assert len(list(descriptors.iterdir())) == before


def test_a_pipe_in_the_pictures_place_is_changed(landing: Path) -> None:
    """A pipe without a writer would block the open for ever; it is refused at once."""
    os.mkfifo(landing / "pipe.jpg")
    assert rejected(landing, name="pipe.jpg") == (Reason.CHANGED, "no longer a regular file")


def test_a_socket_in_the_pictures_place_is_changed(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that took the picture's name is as little a picture as a pipe is."""
    monkeypatch.chdir(landing)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        assert rejected(landing, name="socket.jpg")[0] is Reason.CHANGED


def failing_open(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make every open fail with one error number."""

    def fail(*args: Any, **kwargs: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_picture_that_may_not_be_read_is_forbidden(
    number: int, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The landing answers and this picture does not: its own fault."""
    failing_open(monkeypatch, number)
    assert rejected(landing) == (Reason.FORBIDDEN, os.strerror(number))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM, errno.ETIMEDOUT])
def test_any_other_error_is_the_worlds(number: int, landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk or a mount that fails is retried and never becomes a row; the message names the picture."""
    failing_open(monkeypatch, number)
    with pytest.raises(StorageError, match=rf"landing/1\.jpg: .*{os.strerror(number)}"):
        read(landing, "7-1")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES])
def test_while_the_landing_does_not_answer_nothing_is_a_pictures_fault(
    number: int, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing mount makes every picture seem gone; that is the world's fault."""
    storage = FolderStorage(str(landing))
    (landing / "1.jpg").unlink()
    landing.rmdir()
    failing_open(monkeypatch, number)
    with pytest.raises(StorageError, match=r"the landing does not answer: .*No such file or directory"):
        storage.read(uri_of(landing / "1.jpg"), "7-1", 7, LIMIT)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("may", ["scandir", "stat"])
def test_a_landing_that_may_not_be_read_is_denied(
    number: int, may: str, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission taken from everything forbids no single picture; a landing may refuse its names, or only its files."""
    storage = FolderStorage(str(landing))
    failing_open(monkeypatch, number)

    def refused(path: str, *args: Any) -> Any:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, may, refused)
    with pytest.raises(DeniedError, match=rf"the landing may not be read: .*{os.strerror(number)}.*grant"):
        storage.read(uri_of(landing / "1.jpg"), "7-1", 7, LIMIT)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("mode", [0o000, 0o100, 0o400])
def test_permission_on_the_landing_is_looked_at_as_a_whole(mode: int, landing: Path) -> None:
    """A landing that is closed, one that cannot be listed and lacks a picture, one that cannot be entered."""
    storage = FolderStorage(str(landing))
    (landing / "1.jpg").unlink()
    landing.chmod(mode)
    try:
        with pytest.raises(DeniedError):
            storage.read(uri_of(landing / "1.jpg"), "7-1", 7, LIMIT)
    finally:
        landing.chmod(0o700)


def test_an_empty_folder_in_the_landings_place_is_no_answer(landing: Path) -> None:
    """An unmounted landing leaves an empty folder; its pictures are not gone."""
    storage = FolderStorage(str(landing))
    landing.rename(landing.with_name("mounted"))
    landing.mkdir()
    with pytest.raises(StorageError, match="is it unmounted"):
        storage.read(uri_of(landing / "1.jpg"), "7-1", 7, LIMIT)
