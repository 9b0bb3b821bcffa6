"""A day of a lake on EMR, played in an account: each leg and each person as processes of `verger` in their own roles.

What EMR itself does in the name of a job, to fetch its environment and to put its logs, is done in its place; the
driver's packages the legs fetch themselves.
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bootstrap import driver_packages, orchard
from bootstrap.emr.packing.archive import pack
from bootstrap.emr.packing.package import ARCHIVE, DRIVER
from conf.lake import LakePaths
from conf.objects import ObjectPath
from streaming.backbones.shelf import Compiled, save
from tests.conftest import TINY
from tests.emr.account import ACCOUNT, REGION, Account
from tests.faults.processes import Process

LANDING, LAKE = f"verger-landing-{ACCOUNT}-{REGION}", f"verger-lake-{ACCOUNT}-{REGION}"
QUEUE, DEAD = "verger-landing", "verger-landing-dead"
LEGS = ("stream", "refit", "reader", "submitter")
ROLES = (*LEGS, "scheduler", "instance")
# Below which pictures land, and the lake lies, in their buckets.
PREFIX = "in"
_ROOT = f"s3://{LAKE}/lake"
_PACKAGE = "packages/one"
_TREE = Path(__file__).parents[2]
_VERGER = [sys.executable, "-m", "bootstrap.entry"]
_PATIENCE = 150.0
_PICTURES = 8

Done = subprocess.CompletedProcess[str]


def arn_of(queue: str) -> str:
    """Return the ARN of a queue of the account."""
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"


def furnish(account: Account) -> None:
    """Make buckets and queues as the template `base` does, as far as moto has it, and all its roles."""
    s3, sqs = account.client("s3"), account.client("sqs")
    account.deploy("verger-base", LandingPrefix=PREFIX, Key=f"arn:aws:kms:{REGION}:{ACCOUNT}:key/one", OnCluster="yes")
    sqs.create_queue(QueueName=DEAD)
    redrive = json.dumps({"deadLetterTargetArn": arn_of(DEAD), "maxReceiveCount": 10})
    sqs.create_queue(QueueName=QUEUE, Attributes={"RedrivePolicy": redrive})
    told = {"QueueConfigurations": [{"QueueArn": arn_of(QUEUE), "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=LANDING, NotificationConfiguration=told)


class Day:
    """What is done, one step after the other, and by whom.

    Parameters
    ----------
    account
        Furnished.
    folder
        For logs, and for what commands write.

    Attributes
    ----------
    done : list of (str, Done)
        The commands that have ended, and in whose role each was.
    asked : list of dict
        What roles have asked for until the end of `play`.
    """

    def __init__(self, account: Account, folder: Path) -> None:
        self.done: list[tuple[str, Done]] = []
        self.asked: list[dict[str, Any]] = []
        self._account, self._folder = account, folder
        self._roles = {name: account.role(f"verger-{name}") for name in ROLES}
        self._stream: Process | None = None

    def play(self, compiled: Compiled) -> None:
        """Do everything, from the first deployment to the end of the stream."""
        before = len(self._account.asked())
        self._deploy(compiled)
        pictures = self._land()
        self._begin_stream()
        self._as_emr_does("stream")
        self._refit_and_look(pictures[0])
        self._ask(pictures[0])
        self.asked = self._account.asked()[before:]

    def run(self, role: str, *words: str) -> Done:
        """Run a command of Verger on the lake, in a role, to its end."""
        command = [*_VERGER, *words, "--lake", _ROOT]
        own = self._environment(role)
        return subprocess.run(
            command, env=own, cwd=self._folder, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )

    def clear(self) -> None:
        """End what still runs."""
        if self._stream:
            self._stream.kill()

    def _deploy(self, compiled: Compiled) -> None:
        """Put a backbone into a lake that is yet to be made, and a package, large enough to be put in parts."""
        with pytest.MonkeyPatch.context() as patched:
            for name, value in self._environment("submitter").items():
                patched.setenv(name, value)
            save(compiled, LakePaths(ObjectPath(_ROOT)).backbones)
        packages = self._folder / "packages"
        packages.mkdir()
        (packages / "large.bin").write_bytes(os.urandom(9 << 20))
        for name in (ARCHIVE, DRIVER):
            pack(packages, self._folder / name)
            self._s3("submitter").upload_file(str(self._folder / name), LAKE, f"{_PACKAGE}/{name}")
        self._s3("submitter").get_object(Bucket=LAKE, Key=f"{_PACKAGE}/{ARCHIVE}")

    def _as_emr_does(self, role: str) -> None:
        s3 = self._s3(role)
        s3.list_objects_v2(Bucket=LAKE, Prefix=f"{_PACKAGE}/")
        s3.get_object(Bucket=LAKE, Key=f"{_PACKAGE}/{ARCHIVE}")
        s3.put_object(Bucket=LAKE, Key=f"logs/applications/a/jobs/{role}/stderr.gz", Body=b"")

    def _land(self) -> list[str]:
        folder = self._folder / "pictures"
        orchard.plant(folder, _PICTURES, seed=1)
        drawn = sorted(each for each in folder.rglob("*.*") if each.is_file())[:_PICTURES]
        keys = [f"{PREFIX}/{each.relative_to(folder).as_posix()}" for each in drawn]
        for key, each in zip(keys, drawn, strict=True):
            self._account.client("s3").put_object(Bucket=LANDING, Key=key, Body=each.read_bytes())
        return [f"s3://{LANDING}/{key}" for key in keys]

    def _begin_stream(self) -> None:
        """Start the streaming leg and wait until it has made an outcome of every picture."""
        queue = self._account.client("sqs").get_queue_url(QueueName=QUEUE)["QueueUrl"]
        words = ["stream", "--landing", f"s3://{LANDING}/{PREFIX}", "--discover", "notifications", "--queue", queue]
        words += ["--backbone", TINY, "--vacuum-days", "0", "--poll", "1", "--lake", _ROOT]
        log, environment = self._folder / "stream.log", self._environment("stream")
        self._stream = Process([*_VERGER, *words], self._folder, environment, log)
        self._stream.until(lambda: f'"pictures": {_PICTURES}' in log.read_text(), _PATIENCE)

    def _refit_and_look(self, picture: str) -> None:
        """Fit, publish the model once more, let people look, then delete what nobody reads any more, without a JVM."""
        fitted = self._run("refit", "refit", "--components", "2")
        model = re.search(r"\d{8}T\d{6}-\w+", fitted.stdout)
        out = str(self._folder / "out")
        commands = [
            ("refit", "models", "use", model[0] if model else "none"),
            ("reader", "view"),
            ("reader", "status"),
            ("reader", "similar", picture),
            ("reader", "report", "--landing", f"s3://{LANDING}/{PREFIX}", "--out", out, "--presign", "1h"),
            ("reader", "export", "components", "--format", "csv", "--out", f"{out}.csv"),
            ("submitter", "status"),
        ]
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda words: self._run(*words), commands))
        self._run("refit", "refit", "--components", "2", "--vacuum-days", "0")
        self._as_emr_does("refit")

    def _ask(self, picture: str) -> None:
        """Ask things of the stream, the last of them to end; then do in its place what it refuses while it runs."""
        self._run("submitter", "forget", picture)
        self._run("submitter", "upkeep")
        self._run("submitter", "stop")
        assert self._stream
        code, said = self._stream.wait(_PATIENCE), self._stream.last_lines()
        self.done.append(("stream", Done(["stream"], 1 if code is None else code, "", said)))
        self._run("stream", "backbone", "drop", TINY.partition("@")[0])
        self._as_emr_does("instance")

    def _run(self, role: str, *words: str) -> Done:
        self.done.append((role, done := self.run(role, *words)))
        return done

    def _s3(self, role: str) -> Any:
        return self._account.client("s3", self._roles[role])

    def _environment(self, role: str) -> dict[str, str]:
        told = {"PYTHONPATH": str(_TREE), "TMPDIR": os.fspath(self._folder)}
        if role in ("stream", "refit"):
            told[driver_packages.VARIABLE] = f"s3://{LAKE}/{_PACKAGE}/{DRIVER}"
        return self._account.environment(self._roles[role]) | told
