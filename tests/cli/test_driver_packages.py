"""What a job's driver has besides: fetched once, put on the path, and told in one line where it cannot be."""

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from bootstrap import driver_packages
from conf import access
from conf.access import Access
from conf.errors import StorageError, UsageError
from tests.storage.cloud import Cloud


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in a folder of its own, and leave path and access as they were."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(access, "_current", Access())
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return a .tar.gz of these files: the same bytes at any time."""
    target = io.BytesIO()
    with gzip.GzipFile("", "wb", mtime=0, fileobj=target) as plain, tarfile.open(fileobj=plain, mode="w|") as tar:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return target.getvalue()


def flipped(body: bytes, place: int) -> bytes:
    """Return the same with one bit changed."""
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


NOISE = Random(4).randbytes(1 << 16)
WHOLE = archive({"a": NOISE, "b": NOISE[::-1]})
# A tar that ends where its second member would begin.
HALF = gzip.compress(gzip.decompress(archive({"a": NOISE}))[: 512 + len(NOISE)], mtime=0)
DAMAGED = {
    "empty": b"",
    "no archive": b"no archive",
    "only its first bytes": WHOLE[:3],
    "cut within a file": WHOLE[: len(WHOLE) // 4],
    "cut between files": HALF[:-8] + b"cut off!",
    "cut at its end": WHOLE[:-4],
    "a bit of it": flipped(WHOLE, len(WHOLE) // 2),
    "out of its folder": archive({"../out": b"out"}),
}


def test_an_object_is_unpacked_once_and_imported(aws: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process of a machine takes what lies there; the way to S3 is the command line's."""
    bucket = aws.bucket("packages")
    aws.put(bucket, {"v/driver.tar.gz": archive({"of_the_driver.py": b"ANSWER = 42\n", "large/x.bin": bytes(9 << 20)})})
    place = f"s3://{bucket}/v/driver.tar.gz"
    driver_packages.use(place, ["stream", f"--s3-endpoint={aws.endpoint}", "--s3-region", "eu-west-3"])
    assert access.current() == Access(aws.endpoint, "eu-west-3")
    import of_the_driver  # type: ignore[import-not-found]

    assert of_the_driver.ANSWER == 42
    (folder,) = Path.cwd().iterdir()
    assert (folder / "large" / "x.bin").stat().st_size == 9 << 20
    before = folder.stat().st_mtime_ns
    driver_packages.use(place, ["refit"])
    assert [each.stat().st_mtime_ns for each in Path.cwd().iterdir()] == [before]


def test_another_archive_of_the_same_name_is_unpacked_anew(tmp_path: Path) -> None:
    place = tmp_path / "driver.tar.gz"
    for body in (b"1", b"longer"):
        place.write_bytes(archive({"which": body * 1000}))
        driver_packages.use(str(place), [])
        assert (Path(sys.path[-1]) / "which").read_bytes() == body * 1000
    assert len(list(Path.cwd().iterdir())) == 2


def test_an_unpacked_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    driver_packages.use(str(tmp_path), [])
    assert sys.path[-1] == str(tmp_path)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_archive_is_one_line_and_leaves_nothing(tmp_path: Path, what: str) -> None:
    """Also one that names files outside of its folder, and one that looks whole and has the wrong checksum."""
    place = tmp_path / "driver.tar.gz"
    place.write_bytes(DAMAGED[what])
    with pytest.raises(StorageError, match=r"the driver's packages at .*driver\.tar\.gz cannot be unpacked") as caught:
        driver_packages.use(str(place), [])
    assert "\n" not in str(caught.value)
    assert list(Path.cwd().iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_of_two_drivers_that_unpack_at_once_the_second_takes_what_the_first_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a stream and a refit that are started together in one folder."""
    place = tmp_path / "driver.tar.gz"
    place.write_bytes(WHOLE)
    put = driver_packages._put

    def late(begun: Path, folder: Path) -> None:
        shutil.copytree(begun, folder)
        put(begun, folder)

    monkeypatch.setattr(driver_packages, "_put", late)
    driver_packages.use(str(place), [])
    assert [each.name for each in Path.cwd().iterdir()] == [Path(sys.path[-1]).name]
    assert (Path(sys.path[-1]) / "a").read_bytes() == NOISE


def test_a_place_that_is_neither_path_nor_object_is_refused_unprinted() -> None:
    """It may hold a signature."""
    with pytest.raises(UsageError) as caught:
        driver_packages.use("https://example.org/driver.tar.gz?X-Amz-Signature=0123", [])
    assert str(caught.value) == "VERGER_DRIVER_PACKAGES names neither a path nor an object: say s3://BUCKET/KEY"


def test_the_way_to_s3_is_what_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment and verger.toml hold, too; a flag goes before them."""
    monkeypatch.setenv("VERGER_S3_REGION", "eu-west-1")
    Path("verger.toml").write_text('s3_endpoint = "https://s3.example.org"\n')
    driver_packages.use(tmp_path.as_uri(), ["status"])
    assert access.current() == Access("https://s3.example.org", "eu-west-1")
    driver_packages.use(str(tmp_path), ["status", "--s3-region", "eu-west-3"])
    assert access.current().region == "eu-west-3"
    Path("other.toml").write_text('s3_endpoint = "https://other.example.org"\n')
    driver_packages.use(str(tmp_path), ["status", "--config=other.toml"])
    assert access.current().endpoint == "https://other.example.org"


def _python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=Path(driver_packages.__file__).parents[1],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _verger(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return _python("-m", "bootstrap.entry", *words, **environment)


def test_the_variable_is_no_setting_to_be_refused(tmp_path: Path) -> None:
    """Every other name that begins like a setting is."""
    assert _verger("config", **{driver_packages.VARIABLE: str(tmp_path)}).returncode == 0
    assert _verger("config", VERGER_DRIVER="x").returncode == 2


def test_a_missing_archive_ends_the_command_with_one_line(aws: Cloud) -> None:
    place = f"s3://{aws.bucket('packages')}/driver.tar.gz"
    done = _verger("models", **aws.environment(), **{driver_packages.VARIABLE: place})
    assert done.returncode == 1
    assert done.stderr == f"verger: the driver's packages cannot be fetched: {place} is not there\n"


@pytest.mark.parametrize(("missing", "said"), [("typer", True), ("numpy", False)])
def test_a_driver_that_was_not_told_of_them_says_what_is_missing(missing: str, said: bool) -> None:
    """In one line, with the mend; of a package that is not the driver's own Python's own words are best."""
    done = _python("-c", f"import sys; sys.modules['{missing}'] = None; from bootstrap.entry import main; main()")
    assert done.returncode == 1
    hint = (
        "verger: typer is not installed here; the driver of a job has it from its package's driver.tar.gz: "
        "say in VERGER_DRIVER_PACKAGES where that lies\n"
    )
    assert (done.stderr == hint) is said
    assert missing in done.stderr


def test_no_room_to_unpack_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may write into /proc."""
    place = tmp_path / "driver.tar.gz"
    place.write_bytes(archive({"a": b"a"}))
    monkeypatch.chdir("/proc")
    with pytest.raises(StorageError, match="cannot be unpacked into /proc: "):
        driver_packages.use(str(place), [])
