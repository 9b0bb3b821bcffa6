"""What Verger leaves on a disk for a while is its user's alone, under a name that nobody can foresee."""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from conf import files, session
from conf.errors import PlatformError
from conf.files import write_atomically, written_whole
from streaming.backbones import compile as compiling
from streaming.backbones.child import in_child
from streaming.backbones.keras_files import open_keras
from tests.security.models import keras_file

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


@pytest.fixture(autouse=True)
def _open_to_all() -> Iterator[None]:
    """Let whatever does not say otherwise be everybody's."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_session_keeps_its_files_in_a_folder_of_its_own(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, copies of models, broadcasts, the log and the JVM's temporary files; none lies beside it, or stays."""
    seen = []

    def launch(conf: Any, log: Path) -> None:
        (folder,) = temporary.iterdir()
        assert folder == log.parent
        told = dict(conf.getAll())
        places = [told["spark.local.dir"], told["spark.sql.warehouse.dir"]]
        options = told["spark.driver.extraJavaOptions"].split()
        places += [each.partition("=")[2] for each in options if each.startswith("-Djava.io.tmpdir=")]
        assert len(places) == 3
        assert all(Path(place).is_relative_to(folder) for place in places)
        assert "-XX:-UsePerfData" in options
        seen.append(mode(folder))
        raise PlatformError("seen")

    monkeypatch.setattr(session, "launch", launch)
    with pytest.raises(PlatformError, match="seen"), session.session("test"):
        pass
    assert seen == [PRIVATE_FOLDER]
    assert list(temporary.iterdir()) == []


def _output(_: object) -> int:
    return stat.S_IMODE(os.fstat(1).st_mode)


def test_what_a_compilation_says_is_private(temporary: Path) -> None:
    """And gone afterwards."""
    assert in_child(_output, None) == PRIVATE_FILE
    assert list(temporary.iterdir()) == []


def test_a_model_is_checked_and_opened_as_a_private_copy(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody puts another in its place in between."""
    seen = []

    def load_model(copy: Path, **_: object) -> None:
        seen.append((copy.is_relative_to(temporary), mode(copy.parent), copy.read_bytes()))

    keras: Any = ModuleType("keras")
    keras.saving = ModuleType("keras.saving")
    keras.saving.load_model = load_model
    monkeypatch.setitem(sys.modules, "keras", keras)
    path = keras_file(tmp_path / "x.keras", {})
    open_keras(path)
    assert seen == [(True, PRIVATE_FOLDER, path.read_bytes())]
    assert list(temporary.iterdir()) == []


def test_a_compiled_model_is_tried_as_a_private_copy(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is stored."""
    seen = []
    monkeypatch.setattr(
        compiling, "try_out", lambda tried: seen.append((tried.model.exists(), mode(tried.model.parent)))
    )
    compiling._tried(b"model", None, 3, "litert")  # type: ignore[arg-type]
    assert seen == [(True, PRIVATE_FOLDER)]
    assert list(temporary.iterdir()) == []


class TestReplacing:
    """A file that takes another's place is written beside it first."""

    def test_under_a_name_that_nobody_can_foresee(self, tmp_path: Path) -> None:
        """Another one each time."""
        names = set()
        for _ in range(20):
            with written_whole(tmp_path / "out", "out"):
                names |= {path.name for path in tmp_path.iterdir()} - {"out"}
        assert len(names) == 20
        assert min(map(len, names)) >= 32

    @pytest.mark.parametrize("dangling", [True, False])
    def test_it_follows_no_link(self, dangling: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Even whoever could foresee the name would not have another file overwritten."""
        victim = tmp_path / "victim"
        if not dangling:
            victim.write_bytes(b"precious")

        class Foreseen:
            hex = "foreseen"

        monkeypatch.setattr(files, "uuid4", Foreseen)
        (tmp_path / "lake").mkdir()
        (tmp_path / "lake" / ".foreseen").symlink_to(victim)
        with pytest.raises(FileExistsError):
            write_atomically(tmp_path / "lake" / "file", b"content")
        assert dangling is not victim.exists()
        assert dangling or victim.read_bytes() == b"precious"
