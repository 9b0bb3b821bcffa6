"""Thumbnails of a landing's pictures, and the reading apart that makes them."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from conf.errors import IsolationError, OutageError, Rejected, StorageError
from conf.rejections import Reason
from conf.settings import Settings
from conf.storage import FolderStorage, folder_e_tag
from conf.uris import uri_of
from streaming import thumbnails as module
from streaming.apart import Reading, decoded
from streaming.backbones.backbone import Preparation
from streaming.decode import decode
from streaming.fetching import Wanted
from streaming.thumbnails import landing_of, thumbnails, wanted
from tests.unit.hostile import harmful, vulnerable
from tests.unit.lakes import Orchard
from tests.unit.pictures import FILES, LIMIT

HARMFUL = ("segfault", "signal")


def version(path: Path) -> Wanted:
    """Return the version of a picture that is there now."""
    return Wanted(uri_of(path), folder_e_tag(path.stat()), path.stat().st_size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty landing."""
    made = tmp_path / "landing"
    made.mkdir()
    return made


@pytest.fixture
def pictures(folder: Path) -> list[Wanted]:
    """Land one picture of each format."""
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return [version(folder / name) for name in FILES]


def reading(folder: Path, **other: object) -> Reading:
    """Return how pictures of a landing are read."""
    usual = {"pixel_limit": LIMIT, "byte_limit": LIMIT, "decode_seconds": 30.0}
    return Reading(FolderStorage(str(folder)), (Preparation(16), Preparation(8, fit="pad")), **(usual | other))  # type: ignore[arg-type]


class TestReadingApart:
    """In processes of their own, side by side."""

    @pytest.mark.parametrize("cores", [1, 2, 50])
    def test_every_picture_comes_once(self, folder: Path, pictures: list[Wanted], cores: int) -> None:
        """As the decoder makes it for each preparation, whatever the cores."""
        if cores == 50:
            pictures = pictures[:3]
        how = reading(folder)
        found = dict(decoded(pictures, how, cores))
        assert set(found) == set(pictures)
        for each, made in found.items():
            data = FILES[Path(each.uri).name.replace("%20", " ")]
            assert not isinstance(made, Rejected)
            for preparation, picture in zip(how.preparations, made, strict=True):
                np.testing.assert_array_equal(picture.pixels, decode(data, preparation, LIMIT).pixels)

    def test_nothing_of_nothing(self, folder: Path) -> None:
        """No process is started."""
        assert list(decoded([], reading(folder), 2)) == []

    def test_a_picture_that_harms_its_decoder_is_rejected(self, folder: Path, pictures: list[Wanted]) -> None:
        """The others, before and after it, come as they are."""
        for at, harm in enumerate(HARMFUL):
            (folder / harm).write_bytes(harmful(FILES["png"], harm))
            pictures.insert(2 * at + 1, version(folder / harm))
        found = dict(decoded(pictures, reading(folder, decode=vulnerable), 1))
        rejected = {Path(each.uri).name: made.reason for each, made in found.items() if isinstance(made, Rejected)}
        assert rejected == dict.fromkeys(HARMFUL, Reason.CRASHED)

    def test_the_worlds_fault_is_raised(self, folder: Path, pictures: list[Wanted]) -> None:
        """After what was finished, and no thread stays behind."""

        class Failing(FolderStorage):
            def read(self, uri: str, e_tag: str, size: int, byte_limit: int) -> bytes:
                if uri == pictures[5].uri:
                    raise StorageError("the disk is gone")
                return super().read(uri, e_tag, size, byte_limit)

        taking = decoded(pictures, Reading(Failing(str(folder)), (Preparation(8),), LIMIT, LIMIT, 30.0), 1)
        assert [next(taking)[0] for _ in range(5)] == pictures[:5]
        with pytest.raises(StorageError, match="the disk is gone"):
            next(taking)

    def test_who_has_enough_may_stop(self, folder: Path, pictures: list[Wanted]) -> None:
        """Threads that have nowhere to put their pictures end."""
        taking = decoded(pictures * 5, reading(folder), 2)
        next(taking)
        assert isinstance(taking, Iterator)
        taking.close()  # type: ignore[attr-defined]

    def test_who_has_enough_waits_for_no_outage(self, folder: Path, pictures: list[Wanted]) -> None:
        """What is tried again and again is given up at once: Ctrl-C is not to wait for a store that is away."""

        class Away(FolderStorage):
            def read(self, uri: str, e_tag: str, size: int, byte_limit: int) -> bytes:
                if uri != pictures[0].uri:
                    raise OutageError("no network")
                return super().read(uri, e_tag, size, byte_limit)

        taking = decoded(pictures, Reading(Away(str(folder)), (Preparation(8),), LIMIT, LIMIT, 30.0), 1)
        next(taking)
        closing = Thread(target=taking.close, daemon=True)  # type: ignore[attr-defined]
        closing.start()
        closing.join(30)
        assert not closing.is_alive()


class TestThumbnails:
    """Of versions of pictures, by uri."""

    def test_they_are_whole_pictures_on_white(self, folder: Path) -> None:
        """Upright, in their proportions, as the decoding rule has them."""
        Image.new("RGB", (60, 20), (200, 0, 0)).save(folder / "wide.png")
        picture = version(folder / "wide.png")
        made = thumbnails(Settings(landing=str(folder)), [picture], 12)
        assert (made.note, list(made.pictures)) == ("", [picture.uri])
        pixels = made.pictures[picture.uri]
        assert (pixels.shape, str(pixels.dtype)) == ((12, 12, 3), "uint8")
        np.testing.assert_array_equal((pixels == (200, 0, 0)).all(axis=(1, 2)), [False] * 4 + [True] * 4 + [False] * 4)
        assert (pixels[:4] == 255).all()

    def test_what_cannot_be_had_is_left_out_and_counted(self, folder: Path, pictures: list[Wanted]) -> None:
        """Another version than the one asked for, one that is gone, and one that is no picture."""
        changed, gone, *rest = pictures
        (folder / "jpeg").write_bytes(FILES["png"])
        os.utime(folder / "jpeg", ns=(1, 1))
        (folder / Path(gone.uri.replace("%20", " ")).name).unlink()
        (folder / "broken").write_bytes(b"no picture at all")
        made = thumbnails(Settings(landing=str(folder)), [changed, gone, version(folder / "broken"), *rest])
        assert set(made.pictures) == {each.uri for each in rest}
        assert made.missing == Counter(changed=1, gone=1, not_a_picture=1)
        assert made.note == f"3 of {len(rest) + 3} thumbnails are missing (changed 1, gone 1, not_a_picture 1)"

    @pytest.mark.parametrize("error", [OutageError("no network"), IsolationError("no process")])
    def test_an_outage_leaves_the_rest_out(
        self, folder: Path, pictures: list[Wanted], monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        """What was read stays, and the note says what happened; nothing is raised."""

        def failing(group: list[Wanted], how: Reading, cores: int) -> Iterator[object]:
            yield from decoded(group[:4], how, cores)
            raise error

        monkeypatch.setattr(module, "decoded", failing)
        made = thumbnails(Settings(landing=str(folder)), pictures)
        assert set(made.pictures) == {each.uri for each in pictures[:4]}
        missing, total = len(pictures) - 4, len(pictures)
        assert made.note == f"{missing} of {total} thumbnails are missing (unread {missing}): {error}"

    def test_a_landing_that_is_not_there(self, folder: Path, pictures: list[Wanted]) -> None:
        """It is the world's fault, and told in one line; a deleted folder in it is not."""
        for each in folder.iterdir():
            each.unlink()
        assert thumbnails(Settings(landing=str(folder)), pictures).missing == Counter(gone=len(pictures))
        folder.rmdir()
        for landing in (str(folder), ""):
            made = thumbnails(Settings(landing=landing), pictures)
            assert made.missing == Counter(unread=len(pictures))
            assert f"the landing {folder} does not answer: No such file" in made.note

    def test_without_a_landing_the_folder_that_they_share_tells(self) -> None:
        """It may be the root of all."""
        for uris, root in (
            (["file:///a/b/1", "file:///a/b/2"], "/a/b"),
            (["file:///a/b/1", "file:///a/bc/2"], "/a"),
            (["file:///a/1", "file:///b/2"], "/"),
        ):
            (found,) = module._by_root([Wanted(uri, "", 0) for uri in uris], "")
            assert str(module._folder(found)) == root

    def test_pictures_of_several_landings(self, tmp_path: Path) -> None:
        """Each is read where it is; a bucket that does not answer takes no file's thumbnail away."""
        files = []
        for name in ("one", "two"):
            (tmp_path / name / "deep").mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(tmp_path / name / "deep" / "x.png")
            files.append(version(tmp_path / name / "deep" / "x.png"))
        missing = Wanted("az://nobody/x.png", "1", 1)
        made = thumbnails(Settings(landing=str(tmp_path / "one")), [files[0], missing, files[1]])
        assert set(made.pictures) == {each.uri for each in files}
        assert made.missing == Counter(unread=1)
        assert "az://nobody" in made.note

    def test_it_says_how_far_it_is(self, folder: Path, pictures: list[Wanted], monkeypatch: pytest.MonkeyPatch) -> None:
        """From none to all."""
        monkeypatch.setattr(module, "_TELL_EVERY", 10)
        said: list[tuple[str, float, float]] = []
        thumbnails(Settings(landing=str(folder)), pictures, say=lambda *each: said.append(each))
        steps = (0, *range(10, len(pictures) + 1, 10), len(pictures))
        assert said == [("reading thumbnails", done, len(pictures)) for done in steps]


class TestVersions:
    """What a lake knows of its pictures."""

    def test_versions_are_those_that_arrived(self, orchard: Orchard) -> None:
        """With the size of that version, whatever came after it."""
        orchard.arrive("file:///a", size=5)
        orchard.arrive("file:///a", attempt=2, size=5)
        orchard.arrive("file:///a", e_tag="2-2", size=9)
        orchard.arrive("file:///b", size=7)
        versions = pa.table({"uri": ["file:///b", "file:///a", "file:///c"], "e_tag": ["1-1", "1-1", "1-1"]})
        assert wanted(orchard.paths, versions) == [("file:///b", "1-1", 7), ("file:///a", "1-1", 5)]

    @pytest.mark.parametrize(
        ("report", "landing"),
        [('{"landing": "file:///x"}', "file:///x"), ("{}", ""), ("[", ""), ('{"landing": 1}', "")],
    )
    def test_the_landing_is_the_one_of_the_last_stream(self, orchard: Orchard, report: str, landing: str) -> None:
        """Where its report says so."""
        assert landing_of(orchard.paths) == ""
        place = orchard.root / "reports" / "stream.json"
        place.parent.mkdir()
        place.write_text(report)
        assert landing_of(orchard.paths) == landing
