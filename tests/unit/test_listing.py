import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conf.errors import LandingError, Rejected
from conf.logs import logger
from conf.storage import FolderStorage
from conf.uris import path_of, uri_of
from streaming.discovery.folders import FolderListing
from streaming.discovery.sighting import Found
from streaming.landing import parse_skip

NOON = 1_800_000_000.0


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Landing:
    """A landing folder, its listing and the two clocks."""

    def __init__(self, root: Path, settle: float = 2.0) -> None:
        self.root = root
        self.wall, self.monotonic = Clock(NOON), Clock(50.0)
        self.listing = FolderListing(root, parse_skip("txt"), settle, wall=self.wall, monotonic=self.monotonic)

    def put(self, name: str | bytes, *, age: float = 60.0, content: bytes = b"picture") -> Path:
        """Write a file whose modification time lies `age` seconds before noon."""
        path = self.root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (NOON - age, NOON - age))
        return path

    def poll(self) -> list[Found]:
        """List once, sorted by URI."""
        return sorted(self.listing.poll(), key=lambda each: each.uri)

    def names(self) -> list[str]:
        """List once and give the paths below the root."""
        return [str(path_of(each.uri).relative_to(self.root)) for each in self.poll()]

    @property
    def passed_over(self) -> dict[str, int]:
        """What the last poll passed over."""
        return dict(self.listing.sighting().passed_over)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    """Make an empty landing folder."""
    root = tmp_path / "landing"
    root.mkdir()
    return Landing(root)


def test_pictures_are_found_at_any_depth(landing: Landing) -> None:
    """Every file below the landing is met, whatever folder it lies in."""
    for name in ("1.jpg", "Apple/1.jpg", "a/b/c/d/e/f/g/h/2.png"):
        landing.put(name)
    (landing.root / "empty").mkdir()
    assert landing.names() == ["1.jpg", "Apple/1.jpg", "a/b/c/d/e/f/g/h/2.png"]


def test_an_arrival_tells_size_version_and_time(landing: Landing) -> None:
    """The e_tag is size and modification time in nanoseconds; landed_at is that time to the microsecond."""
    path = landing.put("1.jpg")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    (found,) = landing.poll()
    assert (found.uri, found.size, found.e_tag) == (uri_of(path), 7, "7-1700000000123456789")
    assert found.landed_at.isoformat() == "2023-11-14T22:13:20.123456+00:00"
    assert found.version is None


def test_what_is_no_picture_is_counted(landing: Landing) -> None:
    """Hidden, temporary, skipped and special files are passed over by name of the reason, never in silence."""
    landing.put("1.jpg")
    for name in (".2.jpg", "Thumbs.db", ".git/3.jpg", "4.jpg.part", "5.txt", "a/6.TXT"):
        landing.put(name)
    os.mkfifo(landing.root / "pipe.jpg")
    assert landing.names() == ["1.jpg"]
    assert landing.passed_over == {"hidden": 3, "temporary": 1, "skipped": 2, "special": 1}


def test_counts_are_those_of_the_last_poll(landing: Landing) -> None:
    """Two listings of the same folder count the same, not twice as much."""
    landing.put("5.txt")
    landing.poll()
    landing.poll()
    assert landing.passed_over == {"skipped": 1}


def test_a_socket_is_special(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket with a picture's name is no picture."""
    monkeypatch.chdir(landing.root)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        assert landing.poll() == []
    assert landing.passed_over == {"special": 1}


def test_a_young_file_waits_until_its_time_lies_back(landing: Landing) -> None:
    """A file lands when its modification time is `settle` seconds old, and not before."""
    landing.put("1.jpg", age=1.0)
    assert landing.poll() == []
    assert landing.listing.sighting().young == 1
    landing.wall.now += 1.0
    assert landing.names() == ["1.jpg"]
    assert landing.listing.sighting().young == 0


def test_a_file_from_the_future_lands_once_seen_unchanged(landing: Landing) -> None:
    """Where the clocks disagree, `settle` seconds of standing still are enough; it then stays landed."""
    landing.put("1.jpg", age=-86_400)
    assert landing.poll() == []
    landing.monotonic.now += 1.9
    assert landing.poll() == []
    landing.monotonic.now += 0.1
    assert landing.names() == ["1.jpg"]
    assert landing.names() == ["1.jpg"]
    assert landing.listing.sighting().young == 0


def test_a_growing_file_from_the_future_waits(landing: Landing) -> None:
    """Each change starts the wait anew."""
    landing.put("1.jpg", age=-86_400)
    landing.poll()
    landing.monotonic.now += 2
    landing.put("1.jpg", age=-86_400, content=b"picture and more")
    assert landing.poll() == []
    landing.monotonic.now += 2
    assert landing.names() == ["1.jpg"]


def test_a_young_file_that_goes_and_comes_back_waits_anew(landing: Landing) -> None:
    """What a poll did not see is forgotten."""
    path = landing.put("1.jpg", age=-86_400)
    landing.poll()
    path.unlink()
    landing.monotonic.now += 2
    landing.poll()
    landing.put("1.jpg", age=-86_400)
    assert landing.poll() == []


def test_without_settling_a_file_lands_at_once(tmp_path: Path) -> None:
    """With `settle` 0 even a file from the future is met at the first poll."""
    landing = Landing(tmp_path, settle=0)
    landing.put("1.jpg", age=-10)
    assert landing.names() == ["1.jpg"]


def test_an_overwritten_file_is_another_version(landing: Landing) -> None:
    """A new size or a new time each make a new e_tag under the same URI."""
    landing.put("1.jpg", age=100)
    (first,) = landing.poll()
    landing.put("1.jpg", age=90)
    (touched,) = landing.poll()
    landing.put("1.jpg", age=90, content=b"longer than before")
    (grown,) = landing.poll()
    assert first.uri == touched.uri == grown.uri
    assert len({first.e_tag, touched.e_tag, grown.e_tag}) == 3


@pytest.mark.parametrize("nanoseconds", [-1_000_000_000, -1, 7_000_000_000_123_456_789])
def test_any_time_of_a_file_can_be_told(nanoseconds: int, landing: Landing) -> None:
    """Times before 1970 and far in the future do not end the listing."""
    os.utime(landing.put("1.jpg"), ns=(0, nanoseconds))
    landing.poll()
    landing.monotonic.now += 2
    (found,) = landing.poll()
    assert found.landed_at.timestamp() == pytest.approx(nanoseconds / 1e9, abs=1e-5)


@pytest.mark.parametrize("nanoseconds", [10**12 * 10**9, -(10**12) * 10**9])
def test_a_time_that_no_calendar_holds_is_the_latest_one(
    nanoseconds: int, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system may give a time beyond the year 9999; the arrival still has one."""
    landing.put("1.jpg")

    class Status:
        st_mode, st_size = 0o100644, 7
        st_mtime, st_mtime_ns = nanoseconds / 1e9, nanoseconds

    monkeypatch.setattr("streaming.discovery.folders._status", lambda entry: Status())
    landing.poll()
    landing.monotonic.now += 2
    (found,) = landing.poll()
    assert found.landed_at.year == 9999


def test_a_link_to_a_picture_inside_is_not_a_second_picture(landing: Landing) -> None:
    """What the listing meets under its own name it does not meet again by a link."""
    target = landing.put("Apple/1.jpg")
    (landing.root / "link.jpg").symlink_to(target)
    (landing.root / "folder").symlink_to(landing.root / "Apple")
    assert landing.names() == ["Apple/1.jpg"]
    assert landing.passed_over == {"linked_inside": 2}


@pytest.mark.parametrize("target", [".store/1", "1.txt"])
def test_a_link_to_what_is_passed_over_is_a_picture_of_its_own(target: str, landing: Landing) -> None:
    """Content under a hidden folder (git-annex, ConfigMaps) arrives by the link to it: nothing else shows it."""
    (landing.root / "apple.jpg").symlink_to(landing.put(target))
    assert landing.names() == ["apple.jpg"]


def test_a_link_to_a_file_outside_is_a_picture(landing: Landing, tmp_path: Path) -> None:
    """It has the link's name and the target's size."""
    target = tmp_path / "outside.bin"
    target.write_bytes(b"twelve bytes")
    os.utime(target, (NOON - 60, NOON - 60))
    (landing.root / "link.jpg").symlink_to(target)
    (found,) = landing.poll()
    assert (path_of(found.uri).name, found.size) == ("link.jpg", 12)


def test_a_folder_outside_is_walked_once(landing: Landing, tmp_path: Path) -> None:
    """Two links to one folder, or a chain of them, do not double its pictures."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("1.jpg", "2.jpg"):
        (outside / name).write_bytes(b"picture")
        os.utime(outside / name, (NOON - 60, NOON - 60))
    (tmp_path / "alias").symlink_to(outside)
    for name in ("one", "two"):
        (landing.root / name).symlink_to(outside)
    (landing.root / "three").symlink_to(tmp_path / "alias")
    found = landing.names()
    assert sorted(Path(each).name for each in found) == ["1.jpg", "2.jpg"]


def test_cycles_of_links_end(landing: Landing, tmp_path: Path) -> None:
    """Links to the landing, to its parent, to themselves and to each other do not make a listing endless."""
    landing.put("Apple/1.jpg")
    (landing.root / "self").symlink_to(landing.root)
    (landing.root / "Apple" / "up").symlink_to(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "elsewhere")
    (landing.root / "out").symlink_to(tmp_path / "elsewhere")
    assert landing.names() == ["Apple/1.jpg"]


@pytest.mark.parametrize("target", ["absent.jpg", "loop.jpg"])
def test_a_link_that_leads_nowhere_arrives(target: str, landing: Landing) -> None:
    """A dangling link or a loop is an arrival, which the fetch turns into a rejection that says why."""
    link = landing.root / "loop.jpg"
    link.symlink_to(target)
    os.utime(link, (NOON - 60, NOON - 60), follow_symlinks=False)
    assert landing.names() == ["loop.jpg"]


def test_a_landing_given_as_a_link_keeps_its_name(landing: Landing, tmp_path: Path) -> None:
    """URIs are spelt as the landing was given, and links inside it are still told from pictures."""
    landing.put("1.jpg")
    (landing.root / "2.jpg").symlink_to("1.jpg")
    (tmp_path / "given").symlink_to(landing.root)
    by_link = Landing(tmp_path / "given")
    assert [each.uri for each in by_link.poll()] == [uri_of(tmp_path / "given" / "1.jpg")]


NAMES = [
    b"a b.jpg",
    "pêche é.jpg".encode(),
    b"a+b.jpg",
    b"100%.jpg",
    b"%41.jpg",
    b"#1?.jpg",
    b"a\nb.jpg",
    b"\xff\xfe.jpg",
]
ENCODED = ["a%20b", "p%C3%AAche%20%C3%A9", "a%2Bb", "100%25", "%2541", "%231%3F", "a%0Ab", "%FF%FE"]


@pytest.mark.parametrize(("name", "encoded"), list(zip(NAMES, ENCODED, strict=True)))
def test_any_name_comes_back_from_its_uri(name: bytes, encoded: str, landing: Landing) -> None:
    """A URI is percent-encoded by RFC 3986 and leads to the same file, also where a name is not UTF-8."""
    path = landing.put(name, content=name)
    (found,) = landing.poll()
    assert found.uri == f"{uri_of(landing.root)}/{encoded}.jpg"
    assert path_of(found.uri) == path
    assert path_of(found.uri).read_bytes() == name


def test_a_missing_landing_is_an_error(landing: Landing) -> None:
    """A landing that has gone is not an empty landing."""
    landing.root.rmdir()
    with pytest.raises(LandingError, match=r"the landing .*landing cannot be listed: No such file"):
        landing.poll()


def test_a_landing_that_is_a_file_is_an_error(landing: Landing) -> None:
    """A file in the landing's place cannot be listed."""
    landing.root.rmdir()
    landing.root.write_text("")
    with pytest.raises(LandingError, match="cannot be listed: Not a directory"):
        landing.poll()


def failing_scandir(folder: Path, error: OSError) -> Any:
    """Give an `os.scandir` that fails on one folder."""
    scan = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:
        if path == str(folder):
            raise error
        return scan(path)

    return scandir


def test_an_unreadable_folder_is_counted_and_named_once(
    landing: Landing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest of the landing is listed; the log names the folder at the first poll and does not repeat it."""
    landing.put("1.jpg")
    landing.put("secret/2.jpg")
    monkeypatch.setattr(logger(), "propagate", True)
    monkeypatch.setattr(
        os, "scandir", failing_scandir(landing.root / "secret", PermissionError(13, "Permission denied"))
    )
    assert landing.names() == ["1.jpg"]
    assert landing.names() == ["1.jpg"]
    assert landing.passed_over == {"unreadable_folder": 1}
    assert [record.fields["folder"] for record in caplog.records] == [str(landing.root / "secret")]  # type: ignore[attr-defined]


def test_a_folder_deleted_while_listing_is_no_fault(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that goes between its parent's listing and its own holds no pictures, and is not counted."""
    landing.put("1.jpg")
    landing.put("brief/2.jpg")
    gone = FileNotFoundError(2, "No such file or directory")
    monkeypatch.setattr(os, "scandir", failing_scandir(landing.root / "brief", gone))
    assert landing.names() == ["1.jpg"]
    assert landing.passed_over == {}


def test_a_link_too_long_to_follow_is_an_arrival_that_the_fetch_rejects(tmp_path: Path) -> None:
    """One broken link neither ends the listing nor hides its neighbours."""
    (tmp_path / "good.jpg").write_bytes(b"1")
    (tmp_path / "long.jpg").symlink_to("x" * 300)
    found = {each.uri for each in FolderListing(tmp_path, parse_skip(""), settle=0).poll()}
    assert found == {uri_of(tmp_path / "good.jpg"), uri_of(tmp_path / "long.jpg")}
    with pytest.raises(Rejected, match="gone"):
        FolderStorage(str(tmp_path)).read(uri_of(tmp_path / "long.jpg"), "", 0, 100)


def test_of_two_links_to_one_folder_the_first_by_name_counts(tmp_path: Path) -> None:
    """A picture's uri does not hang on the order in which the system lists the links."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "p.jpg").write_bytes(b"1")
    (tmp_path / "landing").mkdir()
    for name in ("c", "a", "b"):
        (tmp_path / "landing" / name).symlink_to(tmp_path / "outside")
    found = [each.uri for each in FolderListing(tmp_path / "landing", parse_skip(""), settle=0).poll()]
    assert found == [uri_of(tmp_path / "landing" / "a" / "p.jpg")]
