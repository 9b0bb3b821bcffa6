"""What is submitted for a leg, on either platform: its name, its role, what its entry is told, and Spark's settings.

Numbers are for workers of 4 cores: Python, LiteRT and Arrow live outside the JVM, hence more overhead than heap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bootstrap import driver_packages
from bootstrap.emr import arguments, workers
from bootstrap.emr.deployment import Deployment, Kind
from bootstrap.emr.packing.package import ARCHIVE, DRIVER, ENTRY
from conf.errors import UsageError
from conf.settings import Resolved

Leg = Literal["stream", "refit"]
# Bounds that botocore does not check. Of the attempts of a stream that may fail within an hour, and what EMR Serverless
# takes where nothing is said; of the minutes that a refit may take, likewise.
RETRIES, MINUTES = range(1, 11), range(5, 10081)
USUAL_RETRIES, USUAL_MINUTES = 5, 720

SIZES = {
    "spark.driver.cores": "4",
    "spark.driver.memory": "6g",
    "spark.driver.memoryOverhead": "8g",
    "spark.executor.cores": "4",
    "spark.executor.memory": "4g",
    "spark.executor.memoryOverhead": "8g",
    "spark.executor.instances": "2",
    "spark.dynamicAllocation.enabled": "false",
}
_PYTHON = "./environment/bin/python"
# Of EMR's own Delta, on every machine of a release.
_DELTA = "/usr/share/aws/delta/lib/delta-spark.jar,/usr/share/aws/delta/lib/delta-storage.jar"
# What a person adds to these does not replace what stands there.
_LISTS = ("spark.archives", "spark.jars")
# Executors that fail within an hour, for each that there is, before an application is given up: after M. Kuthan,
# "Long-running Spark Streaming jobs on YARN cluster", 2016.
_LOST_EXECUTORS = 8


@dataclass(frozen=True)
class Job:
    """One run of a leg.

    Attributes
    ----------
    leg : {"stream", "refit"}
    role : str
        ARN of the role that it runs with.
    entry : str
        s3:// URI of the file that Spark starts.
    arguments : tuple of str
        What the entry is told.
    spark : mapping
        Settings of Spark.
    retries : int
        Attempts of a stream that may fail within an hour before it is given up.
    minutes : int
        That a job with an end may take on EMR Serverless.
    once : bool
        Whether it is a stream that ends once it has drained what has landed.
    """

    leg: Leg
    role: str
    entry: str
    arguments: tuple[str, ...]
    spark: Mapping[str, str]
    retries: int = USUAL_RETRIES
    minutes: int = USUAL_MINUTES
    once: bool = False

    @property
    def endless(self) -> bool:
        """Whether it runs until it is stopped."""
        return self.leg == "stream" and not self.once

    @property
    def name(self) -> str:
        """By which it is found again."""
        return name_of(self.leg)


def name_of(leg: Leg) -> str:
    """Return what the jobs of a leg are called."""
    return f"verger {leg}"


def stream(
    names: Sequence[str],
    resolved: Resolved,
    deployment: Deployment,
    sizes: Mapping[str, str],
    retries: int = USUAL_RETRIES,
) -> Job:
    """Return the stream as it is to be submitted.

    Parameters
    ----------
    names
        The settings that the leg takes.
    resolved
        The settings in force.
    deployment
    sizes
        Settings of Spark that go before `spark_conf`, as that goes before Verger's own.
    retries
        Attempts that may fail within an hour before it is given up; 1: it is never tried again.

    Raises
    ------
    UsageError
        There is no package, a setting cannot travel, a bound is not kept, or EMR Serverless has no such worker.
    """
    _check("--retries", retries, RETRIES)
    spark = _spark(resolved, deployment, sizes, retries)
    told = arguments.of_stream(names, resolved, deployment, spark)
    once = resolved.settings.once
    return Job("stream", deployment.stream_role, _entry(deployment), told, spark, retries=retries, once=once)


def refit(
    names: Sequence[str],
    resolved: Resolved,
    deployment: Deployment,
    sizes: Mapping[str, str],
    minutes: int | None = None,
) -> Job:
    """Return a refit as it is to be submitted; see `stream`.

    Parameters
    ----------
    names, resolved, deployment, sizes
        As of `stream`.
    minutes
        After which EMR Serverless ends it; a step of a cluster has no such limit.
    """
    if minutes is not None:
        _check("--timeout", minutes, MINUTES)
        if deployment.kind == "cluster":
            raise UsageError("--timeout: a step of a cluster has no time limit: leave it out")
    spark = _spark(resolved, deployment, sizes, 1)
    told = arguments.of_refit(names, resolved, deployment, spark)
    return Job("refit", deployment.refit_role, _entry(deployment), told, spark, minutes=minutes or USUAL_MINUTES)


def _check(name: str, value: int, bounds: range) -> None:
    if value not in bounds:
        raise UsageError(f"{name} {value}: it must be {bounds[0]} to {bounds[-1]}")


def _entry(deployment: Deployment) -> str:
    return f"{deployment.package}/{ENTRY}"


def _spark(resolved: Resolved, deployment: Deployment, sizes: Mapping[str, str], retries: int) -> dict[str, str]:
    if not deployment.package:
        raise UsageError(
            f"the stack {deployment.stack} names no package: make one (`verger emr package --arch "
            f"{deployment.architecture} --out FOLDER --upload s3://…/packages`), then say --package, or give it to the "
            "stack as its parameter Package"
        )
    own = {**arguments.own_spark(resolved.settings), **sizes}
    workers.check({**SIZES, **own}, serverless=deployment.kind == "serverless")
    return settings(deployment.kind, deployment.package, own, retries)


def settings(kind: Kind, package: str, own: Mapping[str, str] | None = None, retries: int = 1) -> dict[str, str]:
    """Return the settings of Spark for a job: where its Python comes from, Delta, and sizes.

    Parameters
    ----------
    kind
    package
        s3:// URI of the packed environment's folder.
    own
        Further settings, which win; to lists of archives and jars they are added.
    retries
        As for `stream`; on a cluster only.
    """
    own = dict(own or {})
    base = {
        "spark.archives": f"{package}/{ARCHIVE}#environment",
        **_python(kind, package),
        "spark.jars": _DELTA,
        **SIZES,
    }
    joined = {name: f"{base[name]},{own[name]}" for name in _LISTS if name in own}
    spark = {**base, **own, **joined}
    return spark if kind == "serverless" else {**_on_yarn(spark, retries), **spark}


def _python(kind: Kind, package: str) -> dict[str, str]:
    driver = "spark.emr-serverless.driverEnv" if kind == "serverless" else "spark.yarn.appMasterEnv"
    names = (f"{driver}.PYSPARK_DRIVER_PYTHON", f"{driver}.PYSPARK_PYTHON", "spark.executorEnv.PYSPARK_PYTHON")
    return {**dict.fromkeys(names, _PYTHON), f"{driver}.{driver_packages.VARIABLE}": f"{package}/{DRIVER}"}


def _on_yarn(spark: Mapping[str, str], retries: int) -> dict[str, str]:
    """Return what lets a stream that runs for months outlive a failure now and then.

    YARN counts attempts up to `yarn.resourcemanager.am.max-attempts` of the cluster, which its template raises.
    """
    return {
        # Until there is a session: before that the driver fetches its packages, and waits for the lease of one that was
        # killed. YARN itself gives up after ten minutes.
        "spark.yarn.am.waitTime": "540s",
        "spark.yarn.maxAppAttempts": str(retries),
        "spark.yarn.am.attemptFailuresValidityInterval": "1h",
        "spark.executor.maxNumFailures": str(_LOST_EXECUTORS * int(spark["spark.executor.instances"])),
        "spark.executor.failuresValidityInterval": "1h",
    }


def submit_parameters(spark: Mapping[str, str]) -> str:
    """Return settings as EMR Serverless takes them, in one text."""
    return " ".join(f"--conf {name}={value}" for name, value in spark.items())


def submit_command(job: Job) -> list[str]:
    """Return the spark-submit of a job for a cluster; YARN starts its driver, and starts it again after a failure."""
    conf = [f"{name}={value}" for name, value in job.spark.items() if name != "spark.archives"]
    return [
        "spark-submit", "--deploy-mode", "cluster", "--name", job.name, "--archives", job.spark["spark.archives"],
        *(part for each in conf for part in ("--conf", each)), job.entry, *job.arguments,
    ]  # fmt: skip
