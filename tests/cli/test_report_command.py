"""`verger report` as a process: what it writes and says, and how it refuses."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conf.uris import uri_of
from tests.cli.test_command_line import VERGER, one_line
from tests.unit.fields import Field

Ask = Callable[..., subprocess.CompletedProcess[str]]
COUNT = 24


@pytest.fixture
def field(tmp_path: Path) -> Field:
    """Make a lake whose pictures lie in a landing, but one, and that has been refitted."""
    made = Field(tmp_path / "lake")
    paths = [tmp_path / "landing" / "pq"[number % 2] / f"{number}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (10 * number, 90, 90)).save(path)
        stat = path.stat()
        made.arrive(uri_of(path), e_tag=f"{stat.st_size}-{stat.st_mtime_ns}", size=stat.st_size)
        made.grow(uri_of(path), e_tag=f"{stat.st_size}-{stat.st_mtime_ns}", label=path.parent.name)
    paths[0].unlink()
    made.refit(components=2)
    return made


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Return a function that runs `verger` beside the lake, where no Java is to be found."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VERGER_")}
    environment |= {"JAVA_HOME": str(tmp_path / "no-java")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*VERGER, *arguments, "--lake", "lake"]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=240, check=False
        )

    return run


def test_a_report_is_a_page_and_charts(ask: Ask, field: Field, tmp_path: Path) -> None:
    """It says what it wrote and which thumbnails are missing; labels of one's own replace the lake's."""
    (tmp_path / "mine.csv").write_text(f"uri,label\n{tmp_path}/landing/p/2.png,quince\n")
    done = ask("report", "--out", "seen/today", "--labels", "mine.csv")
    assert done.returncode == 0, done.stderr
    missing, unlabelled, written = done.stdout.splitlines()
    assert unlabelled == f"{COUNT - 1} of {COUNT} pictures have no label in mine.csv"
    assert missing == f"1 of {COUNT} thumbnails are missing (gone 1)"
    assert written.startswith(f"{tmp_path}/seen/today/report.html (")
    assert "charts beside it" in written
    page = (tmp_path / "seen" / "today" / "report.html").read_text("utf-8")
    assert "quince" in page
    charts = sorted((tmp_path / "seen" / "today").glob("*.png"))
    assert len(charts) >= 4
    for chart in charts:
        assert np.asarray(Image.open(chart).convert("L")).std() > 0


def test_what_cannot_be_reported_gets_one_line(ask: Ask, field: Field, tmp_path: Path) -> None:
    """A time that no link can hold, a folder that is a file, labels that are none, a featurizer that nobody knows."""
    (tmp_path / "file").write_text("")
    (tmp_path / "labels.csv").write_text("picture\n1\n")
    for arguments, code, message in [
        (("--out", "seen", "--presign", "8d"), 2, "7d is the longest"),
        (("--out", "seen", "--presign", "soon"), 2, "say how long"),
        (("--out", "file", "--no-thumbnails"), 1, "--out"),
        (("--out", "seen", "--labels", "labels.csv"), 2, "uri"),
        (("--out", "seen", "--featurizer", "nobody"), 2, "nobody"),
    ]:
        done = ask("report", *arguments)
        assert message in one_line(done.stderr)
        assert (done.returncode, done.stdout) == (code, "")
