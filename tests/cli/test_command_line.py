"""The `verger` command as a process: what it prints, where, and its exit codes."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import verger
from bootstrap import orchard
from conf import lease
from conf.lake import LakePaths
from streaming.backbones.shelf import Compiled
from tests.conftest import TINY

VERGER = [sys.executable, "-m", "bootstrap.entry"]
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Return a function that runs `verger` in an empty folder, away from any settings of this machine."""

    def run(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*VERGER, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**_clean(), **(environment or {})},
            timeout=600,
            check=False,
        )

    return run


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VERGER_")}


def eventually(happened: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait until something has happened, or fail with what the process said."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def told(text: str) -> str:
    """Return what standard error says without the progress that a slow machine tells of."""
    return "".join(line for line in text.splitlines(keepends=True) if '"event": "progress"' not in line)


def one_line(text: str) -> str:
    """Return the one line that an error must be."""
    assert told(text).startswith("verger: "), text
    assert told(text).count("\n") == 1, text
    return told(text)


def test_stream_once_drains_the_landing_and_says_what_it_did(command: Command, landing: Path, lake: LakePaths) -> None:
    """Plain lines on standard output, JSON lines on standard error, the counts right in both and in `status --json`."""
    (landing / "Pear" / "empty.jpg").write_bytes(b"")
    (landing / "notes.txt").write_text("")
    arguments = ("--landing", str(landing), "--lake", str(lake.root), "--backbone", TINY, "--settle", "0")
    done = command("stream", "--once", *arguments)
    assert done.returncode == 0, done.stderr
    assert "24 featurized, 1 rejected (empty 1), 0 left; 25 arrivals" in done.stdout
    assert "passed over: 1 skipped" in done.stdout
    events = [each for each in map(json.loads, done.stderr.splitlines()) if each["event"] != "progress"]
    assert [each["event"] for each in events] == [
        "memory",
        "arrivals",
        "upkeep",
        "stream started",
        "micro-batch",
        "stream stopped",
    ]
    assert (events[4]["pictures"], events[4]["rejections"], events[4]["backlog"]) == (25, {"empty": 1}, 0)

    status = command("status", "--lake", str(lake.root), "--json")
    found = json.loads(status.stdout)
    assert (found["arrivals"], found["stream"]) == (25, None)
    assert [(each["with_features"], each["rejections"], each["backlog"]) for each in found["featurizers"]] == [
        (24, {"empty": 1}, 0)
    ]
    assert found["last_report"]["passed_over"] == {"skipped": 1}
    assert "empty" in command("status", "--lake", str(lake.root)).stdout

    strict = command("status", "--lake", str(lake.root), "--json", "--unwell-rejected", "0.03")
    assert strict.returncode == 3
    found = json.loads(strict.stdout)
    assert not found["well"]
    assert [f"verger: unwell: {reason}" for reason in found["unwell"]] == told(strict.stderr).splitlines()
    assert "4% of the last 25 outcomes are rejections, above all empty" in strict.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_running_stream_takes_what_lands_and_ends_well_on_a_signal(
    landing: Path, lake: LakePaths, number: signal.Signals
) -> None:
    """Pictures that land meanwhile become rows; SIGTERM and Ctrl-C end with 0 and release the lease."""
    arguments = [
        "--landing",
        str(landing),
        "--lake",
        str(lake.root),
        "--backbone",
        TINY,
        "--settle",
        "0",
        "--poll",
        "0.2",
    ]
    process = subprocess.Popen(
        [*VERGER, "stream", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_clean()
    )
    opened = verger.open(str(lake.root))

    def rows(count: int) -> Callable[[], bool]:
        return lambda: sum(each["outcomes"] for each in opened.status()["featurizers"]) == count

    try:
        eventually(rows(24), process)
        holder = lease.holder(lake.lease("stream"))
        assert holder is not None
        assert holder["pid"] == process.pid
        orchard.plant(landing, 6, seed=2, start=24)
        eventually(rows(30), process)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "30 featurized, 0 rejected, 0 left" in output
    assert lease.holder(lake.lease("stream")) is None


def test_a_second_driver_is_kept_away(command: Command, landing: Path, lake: LakePaths) -> None:
    """It ends with 1 and says which process streams."""
    with lease.hold(lake.lease("stream")):
        refused = command("stream", "--landing", str(landing), "--lake", str(lake.root))
    assert refused.returncode == 1
    assert f"process {os.getpid()}" in one_line(refused.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("stream", "--lake", "lake"), 2, "--landing is missing"),
        (("stream", "--landing", "nowhere", "--lake", "lake"), 1, "does not exist"),
        (("stream", "--landing", ".", "--lake", "elsewhere", "--settle", "soon"), 2, "settle must be a number"),
        (("stream", "--nonsense"), 2, "--nonsense"),
        (("fly",), 2, "fly"),
        (("status", "--lake", "nowhere"), 1, "no lake at"),
        (("status", "--lake", "."), 1, "is not a lake"),
        (("config", "--config", "missing.toml"), 2, "missing.toml"),
        (("backbone", "compile", "--lake", "new", "--backbone", "alexnet"), 2, "known: efficientnet-lite0"),
        (("backbone", "compile", "--lake", "new", "--backbone", "mobilenet-v2", "--weights", "gone.h5"), 2, "gone.h5"),
    ],
)
def test_bad_input_gets_one_clear_line_and_the_right_exit_code(
    command: Command, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """The line names the setting or the place, and nothing else is printed."""
    done = command(*arguments)
    assert message in one_line(done.stderr)
    assert (done.returncode, done.stdout) == (code, "")


def test_debug_shows_the_traceback(command: Command) -> None:
    """The one line is for users, the traceback for those who ask."""
    done = command("status", "--lake", "nowhere", "--debug")
    assert "Traceback" in done.stderr
    assert done.returncode == 1


def test_without_java_the_message_says_how_to_get_it(command: Command, landing: Path, lake: LakePaths) -> None:
    """It is checked before anything else is begun."""
    arguments = ("--landing", str(landing), "--lake", str(lake.root), "--backbone", TINY, "--settle", "0")
    done = command(
        "stream", "--once", *arguments, environment={"PATH": str(Path(sys.executable).parent), "JAVA_HOME": ""}
    )
    assert done.returncode == 1
    assert "openjdk-17" in one_line(done.stderr)


def test_without_a_network_for_the_jars_the_message_says_what_to_do(
    command: Command, landing: Path, lake: LakePaths, tmp_path: Path
) -> None:
    """A first start that cannot reach Maven Central ends with one line, not with Ivy's report."""
    environment = {"HOME": str(tmp_path), "JDK_JAVA_OPTIONS": "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=1"}
    arguments = ("--landing", str(landing), "--lake", str(lake.root), "--backbone", TINY, "--settle", "0")
    done = command("stream", "--once", *arguments, environment=environment)
    assert done.returncode == 1
    assert "Maven Central" in done.stderr.splitlines()[-1]


def test_settings_come_from_file_environment_and_flags(command: Command, tmp_path: Path) -> None:
    """`verger config` prints each value in force and where it came from."""
    (tmp_path / "verger.toml").write_text('poll = 7\nlabel = "none"\n')
    done = command("config", "--label", "parent", environment={"VERGER_SETTLE": "3", "COLUMNS": "200"})
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "7.0" in lines["poll"]
    assert "default" not in lines["poll"]
    assert "environment VERGER_SETTLE" in lines["settle"]
    assert "flag --label" in lines["label"]
    assert "default" in lines["trigger"]


def test_backbones_are_listed_with_those_of_a_lake(command: Command, lake: LakePaths, embedded: Compiled) -> None:
    """The known networks, and what the lake has compiled."""
    done = command("backbone", "list", "--lake", str(lake.root))
    assert "mobilenet-v2" in done.stdout
    assert embedded.backbone.featurizer in done.stdout


def test_another_package_of_the_same_name_is_named(tmp_path: Path) -> None:
    """`conf` and `streaming` are common names: a clash is told, not run into."""
    (tmp_path / "streaming").mkdir()
    (tmp_path / "streaming" / "__init__.py").write_text("")
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from bootstrap.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), "config"],
        capture_output=True,
        text=True,
        check=False,
        env=_clean(),
    )
    assert done.returncode == 1
    assert "another package named streaming" in one_line(done.stderr)


def test_the_demo_ends_with_every_file_accounted_for(command: Command, tmp_path: Path, embedded: Compiled) -> None:
    """Waves land, the view shows the last one, a second refit takes it; the sums add up. No other's folder is taken."""
    done = command("demo", "--pictures", "36", "--folder", "orchard")
    assert done.returncode == 0, done.stderr
    lake = verger.open(str(tmp_path / "orchard" / "lake"))
    landed = sum(1 for path in (tmp_path / "orchard" / "landing").rglob("*") if path.is_file())
    assert lake.features().num_rows + lake.rejections().num_rows == landed
    assert f"{landed:,} files landed (3 while the stream ran, 3 after a refit)" in done.stdout
    assert f"{lake.view().num_rows - 3:,} rows as the refit published them, 3 provisional" in done.stdout
    assert lake.view()["source"].unique().to_pylist() == ["batch"]
    assert lake.models().num_rows == 2
    shutil.rmtree(tmp_path / "orchard")
    (tmp_path / "orchard").mkdir(mode=stat.S_IRWXU)
    (tmp_path / "orchard" / "mine.txt").write_text("")
    assert "no former demo" in one_line(command("demo", "--folder", "orchard").stderr)
