import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import LakeError, StorageError
from streaming.commands import tombstones
from streaming.commands.selection import Selection
from streaming.commands.tombstones import Tombstone, Tombstones, hashed, tombstone

APPLE, PEAR = "file:///landing/fruit/apple.jpg", "file:///landing/fruit/pear.jpg"
FRUIT = "file:///landing/fruit/"


def forgotten(number: int, *uris: str, prefix: str = "") -> Tombstone:
    """Give the tombstone of a takedown."""
    return tombstone(f"request-{number}", number, Selection(uris, prefix), forgotten=True)


def recalled(number: int, *uris: str, prefix: str = "") -> Tombstone:
    """Give that of a recall."""
    return tombstone(f"request-{number}", number, Selection(uris, prefix), forgotten=False)


def test_without_tombstones_nothing_is_forgotten(tmp_path: Path) -> None:
    """A lake that never had a takedown has no folder for them."""
    stones = tombstones.load(tmp_path / "tombstones")
    assert not stones.holds(APPLE)
    assert stones.next_number() == 1
    assert not (tmp_path / "tombstones").exists()


@pytest.mark.parametrize(
    ("stones", "held"),
    [
        ([forgotten(1, APPLE)], [APPLE]),
        ([forgotten(1, prefix=FRUIT)], [APPLE, PEAR]),
        ([forgotten(1, APPLE, prefix="file:///elsewhere/")], [APPLE]),
        ([forgotten(1, APPLE, PEAR), recalled(2, APPLE)], [PEAR]),
        ([recalled(1, APPLE), forgotten(2, APPLE)], [APPLE]),
        ([forgotten(1, prefix=FRUIT), recalled(2, APPLE)], [PEAR]),
        ([forgotten(1, APPLE), recalled(2, prefix=FRUIT)], []),
        ([forgotten(1, prefix=FRUIT), recalled(2, APPLE), forgotten(3, prefix="file:///landing/")], [APPLE, PEAR]),
        ([forgotten(1, prefix=FRUIT), recalled(2, prefix=f"{FRUIT}a"), forgotten(3, APPLE)], [APPLE, PEAR]),
        ([forgotten(1, prefix=FRUIT), recalled(2, prefix=FRUIT)], []),
        ([recalled(1, prefix=FRUIT)], []),
        ([forgotten(1, prefix=APPLE + "x"), forgotten(2, prefix=FRUIT[:-1] + "x")], []),
    ],
)
def test_the_newest_tombstone_that_speaks_of_a_picture_decides(stones: list[Tombstone], held: list[str]) -> None:
    """By its uri or by any prefix of it, in whatever order they are read."""
    for ordered in (stones, stones[::-1]):
        assert [uri for uri in (APPLE, PEAR) if Tombstones(ordered).holds(uri)] == held


texts = st.text(st.sampled_from("ab/"), max_size=4)
stones_ = st.lists(st.tuples(st.booleans(), st.lists(texts, max_size=2), texts), max_size=6)


@given(stones_, texts)
def test_holding_is_what_trying_one_after_the_other_gives(given_: list[tuple[bool, list[str], str]], uri: str) -> None:
    """The lookups by hash and by prefix change nothing about the rule."""
    stones = [
        tombstone(str(number), number, Selection(tuple(uris), prefix), forgotten=kind)
        for number, (kind, uris, prefix) in enumerate(given_)
    ]
    speaking = [kind for kind, uris, prefix in given_ if uri in uris or (prefix and uri.startswith(prefix))]
    assert Tombstones(stones).holds(uri) == (speaking[-1] if speaking else False)


def test_a_tombstone_survives_its_file(tmp_path: Path) -> None:
    """In each of its states."""
    now = datetime(2026, 3, 1, 8, 0, 0, 1, tzinfo=UTC)
    stone = replace(forgotten(7, APPLE, prefix=FRUIT), removed={"pictures": 3})
    done = replace(stone, executed_at=now, physical_after=now + timedelta(days=14))
    for state in (stone, done):
        tombstones.save(tmp_path, state)
        assert tombstones.load(tmp_path).stones == [state]
    assert tombstones.load(tmp_path).find("request-7") == done
    assert tombstones.load(tmp_path).find("request-8") is None
    assert tombstones.load(tmp_path).next_number() == 8


def test_a_tombstone_does_not_name_its_pictures(tmp_path: Path) -> None:
    """It keeps a hash: the takedown itself would be the last place that names them."""
    tombstones.save(tmp_path, forgotten(1, APPLE))
    (path,) = tmp_path.iterdir()
    assert "apple" not in path.read_text()
    assert json.loads(path.read_text())["uris"] == [hashed(APPLE)]


@pytest.mark.parametrize("change", [{"kind": "conquer"}, {"number": "x"}, {"executed_at": "soon"}, {"uris": None}])
def test_a_damaged_tombstone_is_told(change: dict[str, object], tmp_path: Path) -> None:
    """The message names the file: without it a forgotten picture could come back."""
    tombstones.save(tmp_path, forgotten(1, APPLE))
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(LakeError, match=rf"the tombstone {path} is damaged: restore it, or delete it and repeat"):
        tombstones.load(tmp_path)


def test_what_is_half_written_is_no_tombstone(tmp_path: Path) -> None:
    """A crash leaves another name, which nobody reads."""
    (tmp_path / ".request-1.json.0123").write_text("{")
    assert tombstones.names(tmp_path) == frozenset()
    assert tombstones.load(tmp_path).stones == []


def test_a_folder_that_does_not_answer_is_a_storage_error(tmp_path: Path) -> None:
    """Reading and writing: the world's fault, tried again later."""
    file = tmp_path / "file"
    file.write_text("")
    for attempt in (lambda: tombstones.names(file), lambda: tombstones.save(file, forgotten(1, APPLE))):
        with pytest.raises(StorageError, match=r"tombstones? cannot be"):
            attempt()


def test_a_hundred_thousand_are_as_quick_as_one() -> None:
    """Discovery asks for each new picture; the limit is far above what a lookup takes."""
    uris = tuple(f"file:///landing/{number}.jpg" for number in range(100_000))
    prefixes = [forgotten(number, prefix=f"file:///{number:05}/") for number in range(2, 2_000)]
    stones = Tombstones([forgotten(1, *uris), *prefixes])
    start = perf_counter()
    assert sum(map(stones.holds, uris[:10_000])) == 10_000
    assert perf_counter() - start < 2
    assert not stones.holds("file:///landing/x.jpg")
