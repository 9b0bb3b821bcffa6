from pathlib import Path

import pyarrow as pa
import pytest

from conf.errors import UsageError
from conf.uris import path_of, uri_of
from streaming.commands.selection import Selection, select

NAMES = [
    "plain.jpg",
    "blank and 100%.jpg",
    "it's.jpg",
    'quo"te.jpg',
    "line\nbreak.jpg",
    "p\N{LATIN SMALL LETTER E WITH CIRCUMFLEX}che.jpg",
    "%2F.jpg",
    "_under_.jpg",
    "back\\slash.jpg",
    "\udcff\udc80.jpg",
    "semi;--colon.jpg",
]


def selected(selection: Selection, uris: list[str]) -> list[str]:
    """Give those of some uris that the mask selects."""
    mask = selection.mask()(pa.chunked_array([pa.array(uris, pa.string())])).to_pylist()
    return [uri for uri, kept in zip(uris, mask, strict=True) if kept]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("as_uri", [True, False])
def test_a_picture_is_named_by_path_or_uri(name: str, as_uri: bool, tmp_path: Path) -> None:
    """Any name that a file can have becomes the uri under which it arrived, and selects it alone."""
    mine = uri_of(tmp_path / name)
    selection = select([mine if as_uri else str(tmp_path / name)])
    assert selection == Selection((mine,))
    uris = [uri_of(tmp_path / each) for each in (*NAMES, name + "x", "x" + name)]
    assert selected(selection, uris) == [mine]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_named_by_its_path_and_a_slash(name: str, tmp_path: Path) -> None:
    """The prefix selects what lies below, at any depth, and no neighbour."""
    folder = tmp_path / name
    below = [uri_of(folder / each) for each in ("1.jpg", "deep/er/\N{PEACH}.jpg")]
    beside = [uri_of(tmp_path / f"{name}er" / "1.jpg"), uri_of(folder), uri_of(tmp_path / "1.jpg")]
    selection = select(prefix=f"{folder}/")
    assert selected(selection, below + beside) == below


def test_a_prefix_without_a_slash_may_end_within_a_name(tmp_path: Path) -> None:
    """It is a plain beginning of the text."""
    uris = [uri_of(tmp_path / each) for each in ("2024-01/a.jpg", "2024.jpg", "202.jpg")]
    selection = select(prefix=str(tmp_path / "2024"))
    assert selected(selection, uris) == uris[:2]


def test_relative_paths_start_where_the_command_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in every other command; dots are resolved, links are not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("/")
    given_ = ("a.jpg", "./b/../a.jpg", f"file://localhost{tmp_path}/a.jpg", "link/a.jpg")
    assert select(given_).uris == (uri_of(tmp_path / "a.jpg"), uri_of(tmp_path / "link/a.jpg"))
    assert select(prefix="b/").prefix == uri_of(tmp_path / "b") + "/"


def test_the_root_is_a_prefix() -> None:
    """Its slash is not doubled."""
    assert select(prefix="/").prefix == select(prefix="file:///").prefix == "file:///"


def test_what_cannot_be_named_is_refused() -> None:
    """A scheme that this version does not reach, and an empty name, as of a variable that was not set."""
    with pytest.raises(UsageError, match="ftp:// is not supported yet"):
        select(["ftp://host/key.jpg"])
    with pytest.raises(UsageError, match="a picture's place is empty"):
        select(["a.jpg", ""])
    with pytest.raises(UsageError, match=r"\. is a folder: --prefix \./ means the pictures in it"):
        select(["a.jpg", "."])


def test_nothing_named_selects_nothing() -> None:
    """Never everything."""
    assert selected(select(), ["file:///a"]) == []


def test_every_name_survives_the_way_to_a_uri_and_back(tmp_path: Path) -> None:
    """What a takedown is told is what discovery saw."""
    for name in NAMES:
        assert path_of(select([str(tmp_path / name)]).uris[0]) == tmp_path / name
