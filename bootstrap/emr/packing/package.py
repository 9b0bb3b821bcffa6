"""What a cluster runs: an environment of Python with Verger in it, packed, and the entry that spark-submit starts.

It can be made on any machine with a network, for either processor: wheels are chosen for Amazon Linux 2023 and Python
3.11 (glibc 2.34), and only those whose hashes `environment.txt` names. Spark, Delta and Python itself are the
platform's; TensorFlow stays out, as a compiled backbone travels in the lake.
"""

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
from bootstrap.emr.packing import trimming
from bootstrap.emr.packing.archive import pack
from conf.errors import PlatformError, UsageError
from conf.saying import Say, silent

# By the name that EMR gives it: as wheels call it.
ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
# Where EMR 8.x has its Python 3.11.
PYTHON = "/usr/bin/python3.11"
ARCHIVE, ENTRY, MANIFEST = "environment.tar.gz", "entry.py", "manifest.json"
_SITE = Path("lib/python3.11/site-packages")
_LOCK = Path(__file__).with_name("environment.txt")


@dataclass(frozen=True)
class Content:
    """One of the packages of an environment: its name, its version, and its bytes on disk."""

    name: str
    version: str
    bytes: int


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
    packed, unpacked : int
        Bytes of the archive, and of all files in it.
    contents : tuple of Content
        Largest first.
    """

    id: str
    version: str
    architecture: str
    python: str
    packed: int
    unpacked: int
    contents: tuple[Content, ...]


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
        environment = Path(scratch) / "environment"
        say(f"installing the packages for {architecture}")
        _install(environment / _SITE, architecture, ["--require-hashes", "-r", str(_LOCK)], scratch)
        say("building Verger")
        _install(environment / _SITE, architecture, [str(_wheel(source, Path(scratch)))], scratch)
        say("leaving out what is never loaded")
        owners = _owners(environment / _SITE)
        _trim(environment / _SITE)
        _interpreter(environment, python)
        say("packing")
        archive = Path(scratch) / ARCHIVE
        digest = pack(environment, archive)
        version = _version(source)
        package = Package(
            id=f"verger-{version}-{architecture}-{digest[:12]}",
            version=version,
            architecture=architecture,
            python=python,
            packed=archive.stat().st_size,
            unpacked=trimming.bytes_of(environment),
            contents=_contents(environment / _SITE, owners),
        )
        return package, _put(package, archive, out)


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


def _trim(site: Path) -> None:
    try:
        trimming.trim(site)
    except LookupError as error:
        raise PlatformError(
            f"what a package leaves out is not there any more: {error.args[0]}: see bootstrap/emr/packing/trimming.py"
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


def _put(package: Package, archive: Path, out: Path) -> Path:
    folder = out / package.id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(archive, folder / ARCHIVE)
        shutil.copyfile(Path(bootstrap.__file__).with_name("entry.py"), folder / ENTRY)
        (folder / MANIFEST).write_text(json.dumps(asdict(package), indent=2) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror or error}") from error
    return folder
