"""Which landing zone the settings name; nothing is asked of a store."""

from dataclasses import replace
from pathlib import Path

import pytest

from conf import access
from conf.access import Access
from conf.errors import LandingError, UsageError
from conf.object_storage import ObjectStorage
from conf.settings import Settings
from conf.storage import FolderStorage
from streaming.discovery.buckets import Listed, ObjectListing, Pages
from streaming.discovery.collector import Collector
from streaming.discovery.folders import FolderListing
from streaming.discovery.zone import zone
from tests.unit.lakes import MORNING

IN_STORE = Settings(landing="s3://bucket/in", skip_extensions="dat")
QUEUE = "http://127.0.0.1:9/123456789012/pictures"


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """Make a folder for pictures."""
    folder = tmp_path / "a landing"
    folder.mkdir()
    return folder


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> dict[str, Access]:
    """Give the ways in which a landing in a store is listed and read, by which of both."""
    told: dict[str, Access] = {}

    def pages_of(uri: str, way: Access) -> Pages:
        told["listed"] = way
        return lambda: iter([[Listed("in/a.jpg", '"t"', MORNING, 1), Listed("in/b.dat", '"t"', MORNING, 1)]])

    class Told(ObjectStorage):
        def __init__(self, uri: str, way: Access) -> None:
            told["read"] = way
            super().__init__(uri, way)

    monkeypatch.setattr("streaming.discovery.zone.pages_of", pages_of)
    monkeypatch.setattr("streaming.discovery.zone.ObjectStorage", Told)
    return told


def test_a_folder_is_listed_often(landing: Path) -> None:
    """Every two seconds, as it costs nothing; nobody tells of its pictures."""
    found = zone(Settings(landing=str(landing), settle=0.0, skip_extensions="dat"))
    assert found.uri == f"file://{landing.parent}/a%20landing"
    assert isinstance(found.listing, FolderListing)
    assert isinstance(found.storage, FolderStorage)
    assert (found.poll, found.notices) == (2.0, None)
    for name in ("a.jpg", "b.dat"):
        (landing / name).write_bytes(b"x")
    assert [each.uri for each in found.listing.poll()] == [f"{found.uri}/a.jpg"]


@pytest.mark.parametrize("place", ["s3://bucket/in", "gs://bucket/in", "az://container/in"])
def test_a_bucket_is_listed_seldom(place: str, ways: dict[str, Access]) -> None:
    """Every minute, as its listing is paid for."""
    found = zone(replace(IN_STORE, landing=f"{place}/"))
    assert found.uri == place
    assert isinstance(found.listing, ObjectListing)
    assert isinstance(found.storage, ObjectStorage)
    assert (found.poll, found.notices) == (60.0, None)
    assert [each.uri for each in found.listing.poll()] == [f"{place}/a.jpg"]


def test_a_queue_is_asked_at_once_again(ways: dict[str, Access]) -> None:
    """It waits for messages by itself; it is opened when somebody listens, and the bucket is listed all the same."""
    found = zone(replace(IN_STORE, discover="notifications", queue=QUEUE))
    assert found.poll == 0.2
    assert isinstance(found.listing, ObjectListing)
    assert isinstance(found.notices, Collector)


def test_the_seconds_that_are_given_hold(landing: Path, ways: dict[str, Access]) -> None:
    """For a folder, a bucket and a queue."""
    settings = Settings(poll=7.5)
    assert zone(replace(settings, landing=str(landing))).poll == 7.5
    in_store = replace(settings, landing="s3://bucket/in")
    assert zone(in_store).poll == 7.5
    assert zone(replace(in_store, discover="notifications", queue=QUEUE)).poll == 7.5


@pytest.mark.parametrize("whose", ["own", "anonymous", "requester-pays"])
def test_pictures_are_listed_and_read_as_the_setting_says(whose: access.Whose, ways: dict[str, Access]) -> None:
    """With the endpoint and region settled, which workers elsewhere may not know; the lake's own way stays."""
    before = access.current()
    zone(replace(IN_STORE, landing_access=whose))
    assert ways["listed"] == ways["read"] == Access("http://127.0.0.1:9", "us-east-1", whose)
    assert access.current() == before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(), "--landing is missing"),
        (Settings(landing="ftp://host/in"), "ftp:// is not supported yet"),
        (Settings(landing="s3://"), "names no bucket: say s3://BUCKET/PREFIX"),
        (replace(IN_STORE, discover="notifications"), "needs --queue"),
        (replace(IN_STORE, landing="gs://bucket", discover="notifications", queue=QUEUE), "only S3 tells"),
        (Settings(landing="/in", discover="notifications", queue=QUEUE), "nobody tells of pictures in a folder"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_settings_that_name_no_zone_are_refused(settings: Settings, said: str, ways: dict[str, Access]) -> None:
    """One line says what to change."""
    with pytest.raises(UsageError, match=said):
        zone(settings)


def test_a_folder_must_be_there(tmp_path: Path) -> None:
    """It is not made: a mistyped one would stay empty for ever; a file is none."""
    with pytest.raises(LandingError, match="none does not exist: make the folder or correct --landing"):
        zone(Settings(landing=str(tmp_path / "none")))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="file is a file: give the folder that holds the pictures"):
        zone(Settings(landing=str(tmp_path / "file")))
