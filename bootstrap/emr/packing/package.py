"""What a cluster runs: an environment of Python with Verger in it, packed, and the entry that spark-submit starts.

The driver's own packages lie in an archive of their own, which the entry fetches: no worker has to.

It can be made on any machine with a network, for either processor: wheels are chosen for Amazon Linux 2023 and Python
3.11 (glibc 2.34), and only those whose hashes `environment.txt` names. Spark, Delta and Python itself are the
platform's; TensorFlow stays out, as a compiled backbone travels in the lake.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path

import bootstrap
from bootstrap.emr.packing import sharing, trimming
from bootstrap.emr.packing.archive import pack
from conf.errors import PlatformError, UsageError
from conf.saying import Say, silent

# By the name that EMR gives it: as wheels call it.
ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
# Where EMR 8.x has its Python 3.11.
PYTHON = "/usr/bin/python3.11"
ARCHIVE, DRIVER, ENTRY, MANIFEST = "environment.tar.gz", "driver.tar.gz", "entry.py", "manifest.json"
FILES = (ARCHIVE, DRIVER, ENTRY, MANIFEST)
_SITE = Path("lib/python3.11/site-packages")
_LOCK = Path(__file__).with_name("environment.txt")


@dataclass(frozen=True)
class Content:
    """One of the packages of an environment: its name, its version, and its bytes on disk."""

    name: str
    version: str
    bytes: int


@dataclass(frozen=True)
class Archive:
    """One of the two archives of a package.

    Attributes
    ----------
    packed, unpacked : int
        Bytes of the archive, and of all files in it.
    contents : tuple of Content
        Largest first.
    """

    packed: int
    unpacked: int
    contents: tuple[Content, ...]


@dataclass(frozen=True)
class Package:
    """A package as it was made.

    Attributes
    ----------
    id : str
        `verger-VERSION-ARCHITECTURE-HASH`; the hash is of what it holds, so that the same content has the same id.
    version : str
        Verger's.
    architecture : str
        x86_64 or arm64.
    python : str
        The interpreter that the environment is a virtual environment of, a path of the platform's.
    environment : Archive
        What every machine of a job unpacks.
    driver : Archive
        What its driver unpacks besides.
    """

    id: str
    version: str
    architecture: str
    python: str
    environment: Archive
    driver: Archive


def make(
    architecture: str, out: Path, python: str = PYTHON, source: Path | None = None, say: Say = silent
) -> tuple[Package, Path]:
    """Make a package, and return it with the folder that it lies in, `out/ID`.

    Parameters
    ----------
    architecture
        Of the workers: x86_64 or arm64.
    out
        A folder, which is created.
    python
        The platform's interpreter.
    source
        A checkout of Verger; by default the one that this module lies in.
    say
        Told before each step.

    Raises
    ------
    UsageError
        No such architecture, or Verger was not started from a checkout.
    PlatformError
        What builds and installs is missing or failed; the message has its last line.
    """
    if architecture not in ARCHITECTURES:
        raise UsageError(f"--arch must be {' or '.join(ARCHITECTURES)}, not {architecture!r}")
    if not Path(python).is_absolute():
        raise UsageError(f"--python {python}: say the whole path that it has on the platform, as {PYTHON}")
    source = source or Path(bootstrap.__file__).parents[1]
    if not (source / "pyproject.toml").is_file():
        raise UsageError(f"a package is made from a checkout of Verger, and {source} is none: run it there")
    with tempfile.TemporaryDirectory(prefix="verger-package-") as scratch:
        home, driver = Path(scratch) / "environment", Path(scratch) / "driver"
        site = home / _SITE
        say(f"installing the packages for {architecture}")
        _install(site, architecture, ["--require-hashes", "-r", str(_LOCK)], scratch)
        say("building Verger")
        _install(site, architecture, [str(_wheel(source, Path(scratch)))], scratch)
        say("leaving out what is never loaded")
        owners = _owners(site)
        _trim_and_split(site, driver, owners)
        _interpreter(home, python)
        say("packing")
        environment, first = _packed(home, site, owners, Path(scratch) / ARCHIVE)
        besides, second = _packed(driver, driver, owners, Path(scratch) / DRIVER)
        version, digest = _version(source), hashlib.sha256(f"{first}{second}".encode()).hexdigest()
        id = f"verger-{version}-{architecture}-{digest[:12]}"
        package = Package(id, version, architecture, python, environment, besides)
        return package, _put(package, Path(scratch), out)


def _packed(folder: Path, site: Path, owners: Mapping[str, tuple[str, str]], archive: Path) -> tuple[Archive, str]:
    """Pack a folder into an archive, and return what it is with the sha256 of its tar."""
    digest = pack(folder, archive)
    return Archive(archive.stat().st_size, trimming.bytes_of(folder), _contents(site, owners)), digest


def _install(site: Path, architecture: str, what: Sequence[str], scratch: str) -> None:
    where = ["--target", str(site), "--python", sys.executable, "--python-version", "3.11"]
    platform = ["--python-platform", f"{ARCHITECTURES[architecture]}-manylinux_2_34", "--only-binary", ":all:"]
    # In a folder without a project, whose settings would be taken for ours.
    _run("uv", ["pip", "install", "--quiet", "--no-deps", *where, *platform, *what], scratch)


def _wheel(source: Path, scratch: Path) -> Path:
    _run("hatchling", ["build", "-t", "wheel", "-d", str(scratch / "dist")], str(source))
    return next((scratch / "dist").glob("*.whl"))


def _run(tool: str, arguments: Sequence[str], folder: str) -> None:
    done = subprocess.run([sys.executable, "-m", tool, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode == 0:
        return
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    if f"No module named {tool}" in done.stderr:
        raise PlatformError(f"packing needs {tool}: pip install 'verger[emr]'")
    raise PlatformError(f"packing failed in {tool}: {' '.join(lines)[:500] or 'it said nothing'}")


def _trim_and_split(site: Path, driver: Path, owners: Mapping[str, tuple[str, str]]) -> None:
    try:
        trimming.trim(site)
        sharing.split(site, driver, {top: name for top, (name, _) in owners.items()})
    except LookupError as error:
        raise PlatformError(
            f"what a package leaves out or gives to the driver is not there any more: {error.args[0]}: see "
            "bootstrap/emr/packing/trimming.py and sharing.py"
        ) from error


def _interpreter(environment: Path, python: str) -> None:
    """Make the folder a virtual environment of a Python that is on another machine."""
    (environment / "bin").mkdir()
    for name in ("python", "python3", "python3.11"):
        (environment / "bin" / name).symlink_to(python)
    home = Path(python).parent
    (environment / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\nversion = 3.11\n")


def _owners(site: Path) -> dict[str, tuple[str, str]]:
    """Return by its name what lies at the top of `site`: whose it is, and of which version."""
    return {
        file.parts[0]: (str(each.metadata["Name"]), each.version)
        for each in distributions(path=[str(site)])
        for file in each.files or ()
        if file.parts[0] != ".."
    }


def _contents(site: Path, owners: Mapping[str, tuple[str, str]]) -> tuple[Content, ...]:
    sizes: dict[tuple[str, str], int] = {}
    for path in site.iterdir():
        owner = owners.get(path.name, ("others", ""))
        sizes[owner] = sizes.get(owner, 0) + trimming.bytes_of(path)
    found = [Content(name, version, size) for (name, version), size in sizes.items()]
    return tuple(sorted(found, key=lambda each: (-each.bytes, each.name)))


def _version(source: Path) -> str:
    return str(tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def _put(package: Package, scratch: Path, out: Path) -> Path:
    folder = out / package.id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (ARCHIVE, DRIVER):
            shutil.move(scratch / name, folder / name)
        shutil.copyfile(Path(bootstrap.__file__).with_name("entry.py"), folder / ENTRY)
        (folder / MANIFEST).write_text(json.dumps(asdict(package), indent=2) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror or error}") from error
    return folder
