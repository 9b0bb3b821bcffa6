from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from deltalake import DeltaTable

from conf.errors import LakeError, StorageError
from conf.schemas import ARRIVALS
from conf.tables import ensure
from conf.uris import uri_of
from streaming.arrivals import Arrivals
from streaming.commands import tombstones
from streaming.commands.selection import Selection, select
from streaming.commands.tombstones import tombstone
from streaming.discovery.folders import FolderListing
from streaming.discovery.polling import Discovery
from streaming.discovery.sighting import Found, Sighting
from streaming.landing import parse_skip
from tests.unit.lakes import MORNING


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


def test_tombstones_are_looked_at_where_there_is_a_picture_to_look_for(
    discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle queue is asked five times a second, and on S3 each look is paid for."""
    looks: list[Path] = []

    def look(folder: Path) -> frozenset[str]:
        looks.append(folder)
        return frozenset()

    monkeypatch.setattr(tombstones, "names", look)
    discovery.poll(100)
    discovery.poll(100)
    assert len(looks) == 1


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


@dataclass
class Clock:
    """Seconds that pass when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Landing:
    """A listing whose every picture takes a moment of the clock; `fails` is raised once, before the picture of it."""

    clock: Clock
    names: list[str]
    moment: float = 0.0
    fails: dict[str, Exception] = field(default_factory=dict)
    begun: int = 0
    ended: int = 0

    def poll(self) -> Iterator[Found]:
        self.begun += 1
        for name in self.names:
            if name in self.fails:
                raise self.fails.pop(name)
            self.clock.now += self.moment
            yield picture(name)
        self.ended += 1

    def sighting(self) -> Sighting:
        return Sighting(Counter(hidden=self.ended), young=self.ended)


@dataclass
class Messages:
    """Notices in waves, each received until it is done with."""

    waves: list[list[str]]
    full: bool = False
    before_done: Callable[[], None] = lambda: None
    done_with: int = 0

    def receive(self) -> Iterator[Found]:
        return map(picture, self.waves[0] if self.waves else [])

    def done(self) -> None:
        self.before_done()
        self.done_with += 1
        del self.waves[:1]

    def passed_over(self) -> Counter[str]:
        return Counter(deletion=self.done_with)


def picture(name: str) -> Found:
    """Give a picture of that name as it was found."""
    return Found(f"file:///landing/{name}", "1-1", MORNING, 1)


def names(place: str) -> list[str]:
    """Give the names of the pictures that have arrived."""
    return [uri.removeprefix("file:///landing/") for uri in arrived(place)]


def routes(place: str) -> dict[str, str]:
    """Give how each picture was found, by its name."""
    rows = DeltaTable(place).to_pyarrow_table(columns=["uri", "route"]).to_pylist()
    return {row["uri"].removeprefix("file:///landing/"): row["route"] for row in rows}


class TestSlices:
    """A long listing is taken in slices of two seconds, and what one has found arrives before the next."""

    def test_a_poll_ends_after_a_slice(self, place: str, stones: Path) -> None:
        """The next goes on where it ended; the whole is one listing."""
        clock = Clock()
        landing = Landing(clock, [f"{number:04}" for number in range(4500)], moment=0.0011)
        discovery = Discovery(landing, Arrivals(place), stones, monotonic=clock)
        seen = []
        for _ in range(3):
            sighting = discovery.poll(rows_per_file=10_000)
            seen.append((len(names(place)), discovery.unfinished, sighting.passed_over["hidden"], sighting.young))
        assert seen == [(2000, True, 0, 0), (4000, True, 0, 0), (4500, False, 1, 1)]
        assert (landing.begun, landing.ended) == (1, 1)

    def test_the_next_listing_begins_with_the_next_poll(self, place: str, stones: Path) -> None:
        """Where nobody tells of pictures."""
        clock = Clock()
        landing = Landing(clock, ["a"])
        discovery = Discovery(landing, Arrivals(place), stones, monotonic=clock)
        for number in (1, 2, 3):
            landing.names.append(f"b{number}")
            discovery.poll(rows_per_file=10)
            assert landing.ended == number
            assert len(names(place)) == number + 1

    def test_what_is_forgotten_is_counted_once_a_listing(self, place: str, stones: Path) -> None:
        """However many slices it takes; between two ends the last count stands."""
        clock = Clock()
        tombstones.save(stones, tombstone("request", 1, Selection(prefix="file:///landing/x"), forgotten=True))
        landing = Landing(clock, [*(f"x{number}" for number in range(1500)), "a", "b"], moment=0.0021)
        discovery = Discovery(landing, Arrivals(place), stones, monotonic=clock)
        counts = [discovery.poll(rows_per_file=10).passed_over["forgotten"] for _ in range(4)]
        assert counts == [0, 1500, 1500, 1500]
        assert names(place) == ["a", "b"]

    @pytest.mark.parametrize("late", [False, True], ids=["in its first slice", "in a later one"])
    def test_a_listing_that_fails_begins_anew(self, late: bool, place: str, stones: Path) -> None:
        """The error is raised, and the next poll finds everything, once each."""
        clock = Clock()
        expected = [f"{number:04}" for number in range(2500)]
        landing = Landing(clock, expected, 0.0021, {expected[1700 if late else 300]: StorageError("away")})
        discovery = Discovery(landing, Arrivals(place), stones, monotonic=clock)
        for _ in range(late):
            discovery.poll(rows_per_file=10_000)
        with pytest.raises(StorageError, match="away"):
            discovery.poll(rows_per_file=10_000)
        assert not discovery.unfinished
        discovery.poll(rows_per_file=10_000)
        assert landing.begun == 2
        while discovery.unfinished:
            discovery.poll(rows_per_file=10_000)
        assert (landing.begun, landing.ended) == (2, 1)
        assert names(place) == expected

    def test_a_slice_that_cannot_arrive_is_kept(
        self, place: str, stones: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A long listing does not begin anew because the table did not answer once."""
        clock = Clock()
        landing = Landing(clock, [f"{number:04}" for number in range(2500)], moment=0.0021)
        discovery = Discovery(landing, Arrivals(place), stones, monotonic=clock)
        discovery.poll(rows_per_file=10_000)
        with monkeypatch.context() as broken:
            broken.setattr(Arrivals, "_append", refuse)
            for _ in range(2):
                with pytest.raises(StorageError, match="no space"):
                    discovery.poll(rows_per_file=10_000)
                assert discovery.unfinished
        while discovery.unfinished:
            discovery.poll(rows_per_file=10_000)
        assert landing.begun == 1
        assert names(place) == landing.names


class TestNotices:
    """Notices tell of pictures; listings find what they have missed."""

    def test_pictures_arrive_by_the_way_they_were_found_first(self, place: str, stones: Path) -> None:
        """Told and listed, a picture arrives once."""
        clock = Clock()
        landing, messages = Landing(clock, ["a", "b"]), Messages([["b"]])
        sighting = Discovery(landing, Arrivals(place), stones, messages, 60.0, clock).poll(rows_per_file=10)
        assert routes(place) == {"a": "listing", "b": "notification"}
        assert sighting.passed_over == {"hidden": 1, "deletion": 1}

    def test_listings_come_at_the_start_and_then_seldom(self, place: str, stones: Path) -> None:
        """So long after the last has ended; messages are taken with every poll."""
        clock = Clock()
        landing, messages = Landing(clock, ["missed"], moment=0.5), Messages([["a"], ["b"], ["c"], ["d"]])
        discovery = Discovery(landing, Arrivals(place), stones, messages, 60.0, clock)
        listings = []
        for seconds in (0.0, 59.9, 0.0, 0.2):
            clock.now += seconds
            discovery.poll(rows_per_file=10)
            listings.append(landing.begun)
        assert listings == [1, 1, 1, 2]
        assert names(place) == ["a", "b", "c", "d", "missed"]

    def test_a_listing_under_way_goes_on_between_messages(self, place: str, stones: Path) -> None:
        """It does not wait for its next time, nor keep them waiting."""
        clock = Clock()
        landing = Landing(clock, [f"{number:04}" for number in range(2500)], moment=0.0021)
        messages = Messages([["a"], ["b"], ["c"]])
        discovery = Discovery(landing, Arrivals(place), stones, messages, 3600.0, clock)
        counts = []
        for _ in range(3):
            discovery.poll(rows_per_file=10_000)
            counts.append(len(names(place)))
        assert counts == [1001, 2002, 2503]
        assert not discovery.unfinished

    def test_a_failed_listing_is_not_put_off(self, place: str, stones: Path) -> None:
        """It begins anew with the next poll, not hours later."""
        clock = Clock()
        landing = Landing(clock, ["missed"], fails={"missed": StorageError("away")})
        discovery = Discovery(landing, Arrivals(place), stones, Messages([["a"]]), 3600.0, clock)
        with pytest.raises(StorageError, match="away"):
            discovery.poll(rows_per_file=10)
        assert names(place) == ["a"]
        discovery.poll(rows_per_file=10)
        assert names(place) == ["a", "missed"]

    def test_messages_are_done_with_once_their_pictures_have_arrived(self, place: str, stones: Path) -> None:
        """Whatever a crash leaves in the queue comes again."""
        before: list[list[str]] = []
        messages = Messages([["a", "b", "c"]], before_done=lambda: before.append(names(place)))
        Discovery(Landing(Clock(), []), Arrivals(place), stones, messages).poll(rows_per_file=2)
        assert before == [["a", "b", "c"]]

    def test_messages_are_kept_where_their_pictures_cannot_arrive(
        self, place: str, stones: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next poll receives them again."""
        messages = Messages([["a"]])
        discovery = Discovery(Landing(Clock(), []), Arrivals(place), stones, messages)
        with monkeypatch.context() as broken:
            broken.setattr(Arrivals, "_append", refuse)
            with pytest.raises(StorageError, match="no space"):
                discovery.poll(rows_per_file=10)
        assert messages.done_with == 0
        discovery.poll(rows_per_file=10)
        assert names(place) == ["a"]

    def test_what_is_forgotten_is_not_brought_back_by_a_message(self, place: str, stones: Path) -> None:
        """It is counted, and the message is done with."""
        tombstones.save(stones, tombstone("request", 1, Selection(("file:///landing/a",)), forgotten=True))
        messages = Messages([["a", "b"], ["a"]])
        discovery = Discovery(Landing(Clock(), []), Arrivals(place), stones, messages, 60.0)
        assert [discovery.poll(rows_per_file=10).passed_over["forgotten"] for _ in range(2)] == [1, 2]
        assert names(place) == ["b"]
        assert messages.waves == []

    def test_whoever_polls_is_told_of_more(self, place: str, stones: Path) -> None:
        """While the queue has more than one poll takes."""
        messages = Messages([], full=True)
        discovery = Discovery(Landing(Clock(), []), Arrivals(place), stones, messages)
        discovery.poll(rows_per_file=10)
        assert discovery.unfinished
        messages.full = False
        assert not discovery.unfinished


def refuse(*given: object) -> Iterator[int]:
    """Append nothing."""
    raise StorageError("no space")
