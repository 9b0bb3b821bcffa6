"""A package's archive is the same for the same content, and holds nothing of the machine that made it."""

import os
import tarfile
from pathlib import Path

from bootstrap.emr.packing.archive import pack


def _folder(place: Path, umask: int, moment: int) -> Path:
    former = os.umask(umask)
    try:
        (place / "b").mkdir(parents=True)
        for name, text in (("b/run", "#!"), ("a.txt", "text"), ("Kürbis" * 30, "long")):
            (place / name).write_text(text)
            os.utime(place / name, (moment, moment))
        (place / "b" / "run").chmod(0o700)
        (place / "python").symlink_to("/usr/bin/python3.11")
    finally:
        os.umask(former)
    return place


def test_same_content_gives_the_same_bytes_whoever_makes_it_and_when(tmp_path: Path) -> None:
    """Times, rights and order of creation do not matter."""
    one, other = tmp_path / "1.tar.gz", tmp_path / "2.tar.gz"
    first = pack(_folder(tmp_path / "1", 0o022, 1_000_000_000), one)
    assert pack(_folder(tmp_path / "2", 0o077, 1_700_000_000), other) == first
    assert one.read_bytes() == other.read_bytes()


def test_other_content_gives_another_digest(tmp_path: Path) -> None:
    """One letter is enough."""
    first = pack(_folder(tmp_path / "1", 0o022, 0), tmp_path / "1.tar.gz")
    (tmp_path / "1" / "a.txt").write_text("Text")
    assert pack(tmp_path / "1", tmp_path / "2.tar.gz") != first


def test_what_is_unpacked_is_what_was_packed(tmp_path: Path) -> None:
    """Links stay links, what could be run can be, and others may read all of it."""
    pack(_folder(tmp_path / "folder", 0o077, 0), tmp_path / "archive.tar.gz")
    with tarfile.open(tmp_path / "archive.tar.gz") as archive:
        entries = {each.name: each for each in archive}
        archive.extractall(tmp_path / "out", filter="fully_trusted")
    assert (tmp_path / "out" / "b" / "run").read_text() == "#!"
    assert (tmp_path / "out" / ("Kürbis" * 30)).read_text() == "long"
    assert (tmp_path / "out" / "python").readlink() == Path("/usr/bin/python3.11")
    assert (entries["b/run"].mode, entries["a.txt"].mode, entries["b"].mode) == (0o755, 0o644, 0o755)
    assert {(each.uid, each.gid, each.uname) for each in entries.values()} == {(0, 0, "")}
