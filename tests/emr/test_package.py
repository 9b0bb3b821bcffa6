"""What a package holds, and what making one refuses; `tests/cluster` runs one."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bootstrap.emr.packing import package, sharing, trimming
from bootstrap.emr.packing.upload import upload
from conf.errors import PlatformError, StorageError, UsageError
from tests.storage.cloud import Cloud

_ROOT = Path(__file__).parents[2]
_LOCK = _ROOT / "bootstrap" / "emr" / "packing" / "environment.txt"
_PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
_HASHED = re.compile(r"^([a-z0-9-]+)==(\S+)[^\n]*\\\n((?:    --hash=\S+(?: \\)?\n)+)", re.MULTILINE)


def _lock(path: Path) -> dict[tuple[str, str], frozenset[str]]:
    found = _HASHED.findall(path.read_text("utf-8"))
    return {(name, version): frozenset(re.findall(r"sha256:\w+", hashes)) for name, version, hashes in found}


def test_an_environment_is_of_the_lock_file() -> None:
    """Every package of it is one of requirements.txt, in that version and with those hashes."""
    whole, packed = (
        _lock(_ROOT / "requirements.txt"),
        _lock(_LOCK),
    )
    assert len(packed) == len(_PINNED.findall((_LOCK).read_text("utf-8")))
    assert {each: hashes for each, hashes in packed.items() if whole.get(each) != hashes} == {}


def test_an_environment_has_all_that_its_packages_ask_for() -> None:
    """Nothing that the platform does not bring is missing; neither Spark nor TensorFlow is there."""
    names = {name for name, _ in _lock(_LOCK)}
    assert names.isdisjoint({"pyspark", "py4j", "tensorflow", "keras", "matplotlib"})
    missing = {f"{each} of {name}" for name in names for each in _asked_by(name) if each not in names}
    assert missing == set()


def _asked_by(name: str) -> set[str]:
    try:
        wanted = [Requirement(each) for each in requires(name) or []]
    except PackageNotFoundError:
        return set()
    needed = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return {canonicalize_name(each.name) for each in needed}


def test_a_worker_has_all_that_its_packages_ask_for() -> None:
    """Without the driver's own, which are of the lock file, and each of which says rightly who asks for it."""
    names = {name for name, _ in _lock(_LOCK)}
    own = set(sharing.DRIVERS_OWN)
    assert own <= names
    assert {f"{each} of {name}" for name in names - own for each in _asked_by(name) if each in own} == set()
    asking = {each: why.removesuffix(" asks for it") for each, why in sharing.DRIVERS_OWN.items() if "asks" in why}
    assert {each for each, by in asking.items() if each not in _asked_by(by)} == set()


def test_what_is_packed_are_the_dependencies_of_the_project() -> None:
    """The group of pyproject.toml names what the legs import: dependencies, and pandas, which PySpark asks for."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
    declared = {re.split(r"[^a-z0-9-]", each)[0] for each in project["project"]["dependencies"]}
    assert set(project["dependency-groups"]["legs"]) - declared == {"pandas"}


@pytest.mark.parametrize("architecture", ["arm", "amd64", ""])
def test_an_unknown_architecture_is_refused(architecture: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"--arch must be x86_64 or arm64, not '{architecture}'"):
        package.make(architecture, tmp_path)


@pytest.mark.parametrize("python", ["python3.11", "./bin/python", ""])
def test_a_platforms_python_has_a_whole_path(python: str, tmp_path: Path) -> None:
    """A link to a name would be one to itself."""
    with pytest.raises(UsageError, match=r"--python .*: say the whole path that it has on the platform"):
        package.make("x86_64", tmp_path, python=python)


def test_a_package_is_made_from_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a package is made from a checkout of Verger"):
        package.make("x86_64", tmp_path / "out", source=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_tool_that_fails_is_quoted_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a lock file whose hashes are of other files."""
    lock = tmp_path / "environment.txt"
    lock.write_text("six==1.17.0 --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setattr(package, "_LOCK", lock)
    with pytest.raises(PlatformError, match=r"packing failed in uv: .*six") as caught:
        package.make("x86_64", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(PlatformError, match=r"packing needs uv: pip install 'verger\[emr\]'"):
        package.make("x86_64", tmp_path / "out")


def test_what_is_not_there_to_be_left_out_is_told(tmp_path: Path) -> None:
    """A package that moved its files would else come along whole, or lose what is needed."""
    with pytest.raises(LookupError, match="ai_edge_litert"):
        trimming.trim(tmp_path)


def test_what_is_not_there_to_be_the_drivers_is_told(tmp_path: Path) -> None:
    """Under another name it would come to every machine."""
    owners = {name: name for name in sharing.DRIVERS_OWN if name != "scipy"}
    with pytest.raises(LookupError, match="scipy"):
        sharing.split(tmp_path, tmp_path / "driver", owners)


def test_what_is_the_drivers_moves_whole(tmp_path: Path) -> None:
    """A package's libraries and its metadata go with it, under whatever spelling of its name."""
    owners = {name.replace("-", "_"): name for name in sharing.DRIVERS_OWN} | {
        "scipy.libs": "SciPy", "arro3": "arro3_core", "numpy": "numpy",
    }  # fmt: skip
    site, driver = tmp_path / "site", tmp_path / "driver"
    for name in (*owners, "ours"):
        (site / name).mkdir(parents=True)
    sharing.split(site, driver, owners)
    assert {each.name for each in site.iterdir()} == {"numpy", "ours"}
    assert {each.name for each in driver.iterdir()} == owners.keys() - {"numpy"}


def _made(folder: Path) -> Path:
    home = folder / "verger-0.1.0-arm64-0123456789ab"
    home.mkdir()
    for name in package.FILES:
        (home / name).write_bytes(name.encode())
    return home


def test_an_upload_gives_the_uri_that_jobs_name_and_is_not_repeated(tmp_path: Path, aws: Cloud) -> None:
    """What stands there under the same id has the same content."""
    bucket, home = aws.bucket("packages"), _made(tmp_path)
    assert upload(home, f"s3://{bucket}/some/packages/") == f"s3://{bucket}/some/packages/{home.name}"
    listed = aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert {each["Key"].rpartition("/")[2] for each in listed} == {
        "environment.tar.gz", "driver.tar.gz", "entry.py", "manifest.json",
    }  # fmt: skip
    told: list[str] = []
    upload(home, f"s3://{bucket}/some/packages", lambda text, done=0, total=0: told.append(text))
    assert told == []


def test_an_upload_that_was_cut_off_is_made_again(tmp_path: Path, aws: Cloud) -> None:
    """The manifest comes last: without it nothing counts as there."""
    bucket, home = aws.bucket("packages"), _made(tmp_path)
    aws.put(bucket, {f"{home.name}/{package.ARCHIVE}": b"half"})
    upload(home, f"s3://{bucket}")
    body = aws.client("s3").get_object(Bucket=bucket, Key=f"{home.name}/{package.ARCHIVE}")["Body"].read()
    assert body == package.ARCHIVE.encode()


def test_an_upload_that_cannot_be_is_one_line(tmp_path: Path, aws: Cloud) -> None:
    home = _made(tmp_path)
    with pytest.raises(UsageError, match="a package lies on S3: say s3://BUCKET/PREFIX"):
        upload(home, str(tmp_path))
    with pytest.raises(StorageError, match=r"--upload s3://nowhere-at-all/x: .*NoSuchBucket.*; the package lies in .*"):
        upload(home, "s3://nowhere-at-all/x")
