"""Both legs run on S3 with credentials that are looked for afterwards in all that they wrote, said and showed."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import verger
from bootstrap import orchard
from tests.cli.test_command_line import VERGER
from tests.security.models import bundle
from tests.storage.cloud import Cloud

CREDENTIALS = {
    name: f"CANARY{number}abcdefghij"
    for number, name in enumerate(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))
}
SETTINGS = {
    "spark.hadoop.fs.s3a.bucket.elsewhere.secret.key": "CANARY8abcdefghij",
    "spark.hadoop.fs.azure.account.key.elsewhere.dfs.core.windows.net": "CANARY9abcdefghij",
}
PAGES = ("jobs/", "stages/", "storage/", "environment/", "executors/", "SQL/", "StreamingQuery/")
REST = ("environment", "jobs", "stages?details=true", "sql?details=true&planDescription=true", "allexecutors")
PICTURES = 24


@pytest.fixture
def lake(aws: Cloud, tmp_path: Path) -> str:
    """Land pictures in a bucket, and name a lake in another."""
    orchard.plant(tmp_path / "drawn", PICTURES, seed=1)
    drawn = sorted((tmp_path / "drawn").rglob("*.*"))
    landing = aws.bucket("landing")
    aws.put(landing, {f"in/{path.parent.name}/{path.name}": path.read_bytes() for path in drawn})
    (tmp_path / "landing").write_text(f"s3://{landing}/in")
    return f"s3://{aws.bucket('lake')}/orchard"


@pytest.fixture
def start(aws: Cloud, tmp_path: Path, lake: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that starts a leg with the canaries, in a folder for its temporary files; all end at last."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "events").mkdir()
    shown = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": (tmp_path / "events").as_uri()}
    started = []

    def run(*arguments: str, **more: str) -> subprocess.Popen[bytes]:
        conf = " ".join(f"{key}={value}" for key, value in (SETTINGS | shown | more).items())
        environment = {
            **os.environ, **aws.environment(), **CREDENTIALS, "VERGER_SPARK_CONF": conf, "VERGER_LAKE": lake,
            "VERGER_CORES": "2", "TMPDIR": str(tmp_path / "temporary"),
        }  # fmt: skip
        with (tmp_path / "said").open("ab") as said:
            process = subprocess.Popen([*VERGER, *arguments], stdout=said, stderr=said, cwd=tmp_path, env=environment)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.long
def test_no_secret_is_anywhere(
    start: Callable[..., subprocess.Popen[bytes]], lake: str, aws: Cloud, tmp_path: Path
) -> None:
    """In no command line, page or event of Spark, temporary file, object of the lake, or line that was said."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    model = bundle(tmp_path)
    landing = (tmp_path / "landing").read_text()
    ui = {"spark.ui.enabled": "true", "spark.ui.port": str(port)}
    stream = start("stream", "--landing", landing, "--backbone", str(model), **ui)
    eventually(lambda: drained(lake), stream)
    seen = {**command_lines(), **pages(f"http://127.0.0.1:{port}"), **files(tmp_path / "temporary")}
    assert [oct(path.stat().st_mode)[-3:] for path in (tmp_path / "temporary").iterdir()] == ["700"]
    stream.send_signal(signal.SIGTERM)
    assert stream.wait(60) == 0
    refit = start("refit", "--components", "2")
    while refit.poll() is None:
        seen |= command_lines()
        time.sleep(0.2)
    assert refit.returncode == 0, (tmp_path / "said").read_text()
    assert verger.open(lake).view().num_rows == PICTURES
    seen |= files(tmp_path / "events") | {"said": (tmp_path / "said").read_bytes()} | objects(aws, lake)

    looked_at = {name.partition(":")[0] for name in seen}
    assert looked_at >= {"command line", "page", "events", "temporary", "said", "object"}
    assert {
        name: at for name, at in ((name, content.find(b"CANARY")) for name, content in seen.items()) if at >= 0
    } == {}
    environment = seen["page: environment/"].decode()
    for name in (*SETTINGS, "fs.s3a.secret.key"):
        assert f"{name}</td><td>*********(redacted)" in environment
    assert list((tmp_path / "temporary").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {
        "drawn", "landing", "temporary", "events", "said", "brought.tflite", "brought.json",
    }  # fmt: skip


def eventually(happened: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 180) -> None:
    """Wait until something has happened while a process lives."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.3)


def drained(lake: str) -> bool:
    with suppress(verger.VergerError):
        return bool(sum(each["outcomes"] for each in verger.open(lake).status()["featurizers"]) == PICTURES)
    return False


def command_lines() -> dict[str, bytes]:
    """Give the command line of every process that can be seen, but for this one's."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found[f"command line: {path.parent.name}"] = path.read_bytes()
    return found


def pages(ui: str) -> dict[str, bytes]:
    """Give the pages of Spark, those of each execution, and what it tells by REST."""
    found = {f"page: {name}": get(f"{ui}/{name}") for name in PAGES}
    (application,) = [each["id"] for each in json.loads(get(f"{ui}/api/v1/applications"))]
    found |= {f"page: {name}": get(f"{ui}/api/v1/applications/{application}/{name}") for name in REST}
    found |= {f"page: execution {number}": get(f"{ui}/SQL/execution/?id={number}") for number in range(3)}
    return found


def get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        with error:
            return error.read()


def files(folder: Path) -> dict[str, bytes]:
    """Give what lies in a folder, however deep."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                found[f"{folder.name}: {path.relative_to(folder)}"] = path.read_bytes()
    return found


def objects(aws: Cloud, lake: str) -> dict[str, bytes]:
    """Give the objects of the lake; checkpoints of tables, requests, reports, leases and models are among them."""
    client, bucket = aws.client("s3"), lake.split("/")[2]
    listed = client.list_objects_v2(Bucket=bucket, MaxKeys=1000)["Contents"]
    return {
        f"object: {each['Key']}": client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in listed
    }
