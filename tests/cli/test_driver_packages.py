"""What a job's driver has besides: fetched once, put on the path, and told in one line where it cannot be."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from bootstrap import driver_packages
from conf import access
from conf.access import Access
from conf.errors import StorageError
from tests.storage.cloud import Cloud


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in a folder of its own, and leave path and access as they were."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(access, "_current", Access())
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return a .tar.gz of these files."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return target.getvalue()


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


@pytest.mark.parametrize(
    "body", [b"", b"no archive", archive({"a": os.urandom(1 << 16)})[:-20000], archive({"../out": b"out"})]
)
def test_a_damaged_archive_is_one_line_and_leaves_nothing(tmp_path: Path, body: bytes) -> None:
    """Also one that names files outside of its folder."""
    place = tmp_path / "driver.tar.gz"
    place.write_bytes(body)
    with pytest.raises(StorageError, match=r"the driver's packages at .*driver\.tar\.gz cannot be unpacked") as caught:
        driver_packages.use(str(place), [])
    assert "\n" not in str(caught.value)
    assert list(Path.cwd().iterdir()) == []


def test_a_missing_archive_ends_the_command_with_one_line(aws: Cloud) -> None:
    """And the variable is no setting to be refused."""
    bucket = aws.bucket("packages")
    place = f"s3://{bucket}/driver.tar.gz"
    told = {**os.environ, **aws.environment(), driver_packages.VARIABLE: place}
    done = subprocess.run(
        [sys.executable, "-m", "bootstrap.entry", "models"],
        cwd=Path(driver_packages.__file__).parents[1],
        env=told,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"verger: the driver's packages at {place} cannot be unpacked into ")
    assert done.stderr.count("\n") == 1


def test_a_driver_that_was_not_told_of_them_says_what_is_missing() -> None:
    """In one line, with the mend."""
    begin = "import sys; sys.modules['typer'] = None; from bootstrap.entry import main; main()"
    tree = Path(driver_packages.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", begin], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "verger: typer is not installed here; the driver of a job has it from its package's driver.tar.gz: "
        "say in VERGER_DRIVER_PACKAGES where that lies\n"
    )


def test_no_room_to_unpack_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may write into /proc."""
    place = tmp_path / "driver.tar.gz"
    place.write_bytes(archive({"a": b"a"}))
    monkeypatch.chdir("/proc")
    with pytest.raises(StorageError, match="cannot be unpacked into /proc: "):
        driver_packages.use(str(place), [])
