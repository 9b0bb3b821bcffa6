"""A real Spark cluster on this machine: a standalone master and workers, each a process, from the installed PySpark.

It plays the platform: Spark, Delta and the way to S3 are its own, on its class path and in its settings. Of Verger it
has nothing.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from bootstrap.emr.jobs import Job
from conf import access, jars
from tests.faults.processes import Process
from tests.storage.cloud import Cloud

_HOME = Path(pyspark.__file__).parent
_PATIENCE = 60.0
_TICK = 0.05
_ADDRESS = re.compile(r"Starting Spark master at (spark://\S+)")
_JOINED = re.compile(r"Successfully registered with master")
# Compiled once and cheaply: most of a short run is the start of its JVMs.
_JVM_FLAGS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"
_TAKEN = ("spark.archives", "spark.executorEnv.")
_DRIVERS = "spark.yarn.appMasterEnv."
# What EMR sets for every job, in its own words for S3A.
_DEFAULTS = {
    "spark.driver.memory": "1g",
    "spark.executor.memory": "512m",
    "spark.executor.cores": "2",
    "spark.driver.extraJavaOptions": _JVM_FLAGS,
    "spark.executor.extraJavaOptions": _JVM_FLAGS,
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    "spark.hadoop.fs.AbstractFileSystem.s3.impl": "org.apache.hadoop.fs.s3a.S3A",
    f"{access.S3A}.aws.credentials.provider": "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
    f"{access.S3A}.path.style.access": "true",
    f"{access.S3A}.connection.ssl.enabled": "false",
}


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes
    ----------
    folder : Path
        Of its own: settings, logs and the workers' folders.
    master : str
        `spark://HOST:PORT`.
    workers : tuple of Process
        Each with the executors that it started.
    environment : Mapping[str, str]
        What a node of it has in its environment.
    """

    folder: Path
    master: str
    workers: tuple[Process, ...]
    environment: Mapping[str, str]

    def submit(self, job: Job, environment: Path) -> Process:
        """Run a job's spark-submit, with the driver in this place: for Python a standalone cluster knows no other.

        Parameters
        ----------
        job
            For a cluster; of its settings those that are not of YARN, of EMR's own jars or of sizes are taken.
        environment
            The unpacked archive; a platform puts it into the driver's working directory, under this name.
        """
        own = {name: value for name, value in job.spark.items() if name.startswith(_TAKEN)}
        driver = {name.removeprefix(_DRIVERS): value for name, value in job.spark.items() if name.startswith(_DRIVERS)}
        words = [word for each in own.items() for word in ("--conf", "=".join(each))]
        command = [str(_HOME / "bin" / "spark-submit"), "--master", self.master, "--name", job.name, *words]
        log = self.folder / f"{job.leg}.log"
        return Process([*command, job.entry, *job.arguments], environment.parent, {**self.environment, **driver}, log)

    def executors(self, worker: Process) -> list[Path]:
        """Return the folders of the executors that a worker has run."""
        return sorted((self.folder / f"worker-{self.workers.index(worker)}").glob("app-*/*"))


@contextmanager
def running(folder: Path, cloud: Cloud, workers: int) -> Iterator[Cluster]:
    """Run a cluster whose nodes find a cloud, for the length of a `with` block."""
    (folder / "conf").mkdir(parents=True)
    settings = {**_DEFAULTS, **_class_path(), f"{access.S3A}.endpoint": cloud.endpoint}
    settings[f"{access.S3A}.endpoint.region"] = cloud.environment()["AWS_REGION"]
    lines = "".join(f"{name} {value}\n" for name, value in settings.items())
    (folder / "conf" / "spark-defaults.conf").write_text(lines)
    environment = _environment(folder, cloud)
    started = [_node(folder, environment, "master", "master.Master", ["--port", "0"])]
    try:
        master = _said(started[0], _ADDRESS)
        for number in range(workers):
            more = ["--cores", "2", "--memory", "1g", "--work-dir", str(folder / f"worker-{number}"), master]
            started.append(_node(folder, environment, f"worker-{number}", "worker.Worker", more))
        for each in started[1:]:
            _said(each, _JOINED)
        yield Cluster(folder, master, tuple(started[1:]), environment)
    finally:
        for each in reversed(started):
            each.kill()


def _node(folder: Path, environment: Mapping[str, str], name: str, kind: str, more: Sequence[str]) -> Process:
    words = [f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1", "--webui-port", "0", *more]
    return Process([str(_HOME / "bin" / "spark-class"), *words], folder, environment, folder / f"{name}.log")


def _said(process: Process, wanted: re.Pattern[str]) -> str:
    end = time.monotonic() + _PATIENCE
    while True:
        found = wanted.search(process.log.read_text("utf-8", "replace"))
        if found:
            return found[found.lastindex or 0]
        if not process.alive or time.monotonic() > end:
            raise RuntimeError(f"a node of the cluster did not start: {process.last_lines()}")
        time.sleep(_TICK)


def _class_path() -> dict[str, str]:
    found = jars.spark_settings(s3=True)
    assert "spark.jars" in found, "the jars are not in Ivy's cache: make setup"
    path = found["spark.jars"].replace(",", ":")
    return {"spark.driver.extraClassPath": path, "spark.executor.extraClassPath": path}


def _environment(folder: Path, cloud: Cloud) -> dict[str, str]:
    """Return a node's environment: nothing of the tests' own Python."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "JAVA_HOME", "LANG") if name in os.environ}
    own = {
        "SPARK_HOME": str(_HOME),
        "SPARK_CONF_DIR": str(folder / "conf"),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": _JVM_FLAGS,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "TMPDIR": str(folder),
    }
    return kept | own | cloud.environment()
