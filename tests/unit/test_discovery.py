from pathlib import Path

import pytest
from deltalake import DeltaTable

from conf.errors import LakeError
from conf.tables import ARRIVALS, ensure
from conf.uris import uri_of
from streaming.arrivals import Arrivals
from streaming.commands import tombstones
from streaming.commands.selection import select
from streaming.commands.tombstones import tombstone
from streaming.discovery import Discovery
from streaming.landing import parse_skip
from streaming.listing import FolderListing


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Create an empty arrivals table."""
    place = str(tmp_path / "arrivals")
    ensure(ARRIVALS, place)
    return place


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """Land two pictures and a text."""
    landing = tmp_path / "landing"
    landing.mkdir()
    for name in ("1.jpg", "2.jpg", "notes.txt"):
        (landing / name).write_bytes(b"bytes")
    return landing


@pytest.fixture
def stones(tmp_path: Path) -> Path:
    """Give the folder of tombstones, which is not there yet."""
    return tmp_path / "tombstones"


@pytest.fixture
def discovery(landing: Path, place: str, stones: Path) -> Discovery:
    """Poll that landing."""
    return Discovery(FolderListing(landing, parse_skip("txt"), 0), Arrivals(place), stones)


def bury(stones: Path, number: int, picture: Path, *, forgotten: bool = True) -> None:
    """Write a tombstone."""
    tombstones.save(stones, tombstone(f"request-{number}", number, select([str(picture)]), forgotten=forgotten))


def arrived(place: str) -> list[str]:
    """Give the uris of the table."""
    return sorted(DeltaTable(place).to_pyarrow_table()["uri"].to_pylist())


def test_discovery_appends_what_the_listing_finds(discovery: Discovery, place: str, landing: Path) -> None:
    """A poll makes arrivals of what has landed and tells what waits and what was passed over."""
    sighting = discovery.poll(rows_per_file=10)
    assert (sighting.young, sighting.passed_over) == (0, {"skipped": 1})
    assert arrived(place) == [uri_of(landing / "1.jpg"), uri_of(landing / "2.jpg")]
    assert discovery.arrived == 2
    discovery.poll(rows_per_file=10)
    assert discovery.arrived == 2
    assert DeltaTable(place).version() == 1


def test_a_forgotten_picture_is_passed_over(discovery: Discovery, place: str, landing: Path, stones: Path) -> None:
    """It is counted in each poll and never arrives, also as another version."""
    bury(stones, 1, landing / "1.jpg")
    for version in (b"bytes", b"other bytes"):
        (landing / "1.jpg").write_bytes(version)
        sighting = discovery.poll(rows_per_file=10)
        assert sighting.passed_over == {"skipped": 1, "forgotten": 1}
        assert arrived(place) == [uri_of(landing / "2.jpg")]


def test_tombstones_take_effect_with_the_next_poll(
    discovery: Discovery, place: str, landing: Path, stones: Path
) -> None:
    """A running discovery sees a takedown and its recall, whoever executed them."""
    bury(stones, 1, landing / "1.jpg")
    discovery.poll(rows_per_file=10)
    bury(stones, 2, landing / "1.jpg", forgotten=False)
    bury(stones, 3, landing / "3.jpg")
    (landing / "3.jpg").write_bytes(b"bytes")
    assert discovery.poll(rows_per_file=10).passed_over == {"skipped": 1, "forgotten": 1}
    assert arrived(place) == [uri_of(landing / "1.jpg"), uri_of(landing / "2.jpg")]


def test_a_damaged_tombstone_stops_discovery(discovery: Discovery, place: str, stones: Path) -> None:
    """Rather no arrivals than forgotten ones."""
    stones.mkdir()
    (stones / "x.json").write_text("{")
    for _ in range(2):
        with pytest.raises(LakeError, match=r"the tombstone .*x\.json is damaged"):
            discovery.poll(rows_per_file=10)
    assert arrived(place) == []


def test_an_arrived_picture_is_not_asked_about_again(
    discovery: Discovery, landing: Path, stones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tombstones cost the polls of a large landing nothing."""
    bury(stones, 1, landing / "elsewhere.jpg")
    discovery.poll(rows_per_file=10)
    monkeypatch.setattr("streaming.commands.tombstones.Tombstones.holds", lambda stones, uri: pytest.fail(uri))
    discovery.poll(rows_per_file=10)
