"""The Spark session: on a laptop tuned for one machine, under spark-submit whatever the cluster gives."""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conf import access
from conf.errors import PlatformError, UsageError, first_line
from conf.jars import spark_settings
from conf.redaction import SPARK_PATTERN, is_secret, redacted

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

JAVA_HELP = (
    "install it (apt-get install openjdk-17-jre-headless, or brew install openjdk@17) "
    "and put it on PATH or name it in JAVA_HOME"
)
LEAST_JAVA = 17
TASK_ATTEMPTS = 4

# What both legs need wherever they run.
COMMON = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.streaming.numRecentProgressUpdates": "64",
    "spark.speculation": "false",
    # What its pages, its event log and its own messages hide.
    "spark.redaction.regex": SPARK_PATTERN,
    # Several featurizers share the cores, so that one's backlog does not hold up another's newest pictures.
    "spark.scheduler.mode": "FAIR",
    # A worker that says nothing for too long hangs: its task is tried again, with the decoder in a process of its own.
    "spark.sql.execution.pyspark.udf.killOnIdleTimeout": "true",
    # Bytes of a worker's output buffer: rows that it yields early must not wait in it until it is full.
    "spark.sql.execution.pandas.udf.buffer.size": "4096",
}
# A small cluster of one process: the defaults, made for hundreds of cores, cost seconds at every commit.
LOCAL = {
    "spark.driver.memory": "2g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.rdd.compress": "false",
    "spark.shuffle.compress": "false",
    "spark.sql.ui.retainedExecutions": "20",
    "spark.ui.retainedJobs": "50",
    "spark.ui.retainedStages": "50",
}
# A lake on S3: a commit is requests, each of which is waited and paid for.
_ON_S3 = {
    # Asks S3 for what comes after a version, not for the whole log.
    "spark.hadoop.delta.enableFastS3AListFrom": "true",
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
}
# Where no platform brings a way to s3:// of its own.
_LOCAL_S3 = {
    "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    "spark.hadoop.fs.AbstractFileSystem.s3.impl": "org.apache.hadoop.fs.s3a.S3A",
    f"{access.S3A}.aws.credentials.provider": "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
    f"{access.S3A}.connection.maximum": "64",
    f"{access.S3A}.threads.max": "16",
    # What Spark reads of a lake is never overwritten, so nothing can have changed; a pointer to the log's last
    # checkpoint is, and may be either one.
    f"{access.S3A}.change.detection.mode": "none",
    # A log entry is a few kilobytes: kept in memory, not in a file, until it is put.
    f"{access.S3A}.fast.upload.buffer": "bytebuffer",
}


def on_cluster() -> bool:
    """Whether spark-submit started this process and gave it a JVM."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _on_yarn() -> bool:
    """Whether YARN started this process as a driver, which it gives up where no session comes within some minutes."""
    return on_cluster() and "CONTAINER_ID" in os.environ


@contextlib.contextmanager
def on_demand(
    start: "Callable[[], contextlib.AbstractContextManager[SparkSession]]",
) -> "Iterator[Callable[[], SparkSession]]":
    """Give what starts a session when it is first asked for one, which lives until the end of the `with` block.

    On YARN it is started at once: what comes before a leg needs one may take longer than a driver is let live without.
    """
    with contextlib.ExitStack() as stack:

        @functools.cache
        def started() -> "SparkSession":
            return stack.enter_context(start())

        if _on_yarn():
            started()
        yield started


def check_java() -> None:
    """Check that a Java of at least 17 can be started; under spark-submit one runs already.

    Raises
    ------
    PlatformError
        It cannot; the message says how to get it.
    """
    if on_cluster():
        return
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    try:
        said = subprocess.run([java or "java", "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError):
        where = f"JAVA_HOME={home} holds no Java that starts" if home else "no java on PATH"
        raise PlatformError(f"Java {LEAST_JAVA} is needed, {where}: {JAVA_HELP}") from None
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found is None or int(found[1]) < LEAST_JAVA:
        raise PlatformError(
            f"Java {LEAST_JAVA} is needed, {java} is {found[1] if found else said.strip()!r}: {JAVA_HELP}"
        )


def parse_spark_conf(text: str) -> dict[str, str]:
    """Split `KEY=VALUE KEY=VALUE` into a mapping.

    Raises
    ------
    UsageError
        A word is no KEY=VALUE with a key that begins with `spark.`, or the setting would endanger a lake on S3.
    """
    pairs = {}
    for word in text.split():
        key, separator, value = word.partition("=")
        if not separator or not key.startswith("spark."):
            raise UsageError(f"spark_conf: {redacted(word)!r} is not spark.KEY=VALUE")
        pairs[key] = value
    _refuse_blind_puts(pairs)
    return pairs


def _refuse_blind_puts(pairs: dict[str, str]) -> None:
    """Refuse what lets S3A put a version of a table without looking whether it is there."""
    flags = pairs.get(f"{access.S3A}.performance.flags", "").lower().replace(" ", "").split(",")
    blind = not {"create", "*"}.isdisjoint(flags)
    if blind or pairs.get(f"{access.S3A}.create.performance", "").lower() == "true":
        raise UsageError(
            f"spark_conf: {access.S3A}.performance.flags=create would let two drivers put the same version of a table: "
            "leave it out"
        )


@contextlib.contextmanager
def session(
    name: str, *, cores: int = 0, extra: dict[str, str] | None = None, lake: str = ""
) -> Iterator["SparkSession"]:
    """Yield a Spark session named `name`, stopped at the end.

    Parameters
    ----------
    cores
        Cores of this machine to use when local; 0: all.
    extra
        Further Spark settings; they win over Verger's own.
    lake
        The root of the lake, where it lies on S3.

    Raises
    ------
    PlatformError
        No Java, or the jars cannot be fetched.
    """
    from pyspark import SparkConf

    sql = {key: value for key, value in (extra or {}).items() if key.startswith("spark.sql.")}
    core = {key: value for key, value in (extra or {}).items() if key not in sql}
    remote = access.scheme_of(lake) == "s3"
    conf = SparkConf().setAppName(name).setAll([*COMMON.items(), *(_ON_S3.items() if remote else ())])
    # A platform knows its own way, unless somebody names another.
    given = access.current().endpoint or access.current().region
    core = {**(access.spark_options(lake) if given or not on_cluster() else {}), **core}
    with _given(conf, core) if on_cluster() else _local(conf, cores, core, s3=remote) as spark:
        for key, value in sql.items():
            set_sql(spark, key, value)
        yield spark


def set_sql(spark: "SparkSession", key: str, value: str) -> None:
    """Set a SQL setting of a running session, where Spark checks it.

    Given to the session at its start, a wrong one would break every later error: PySpark asks the settings how to
    print it, and fails at that again, without end.

    Raises
    ------
    UsageError
        Spark refuses the value, or the setting is one that stands from the start.
    """
    from pyspark.errors import PySparkException

    try:
        spark.conf.set(key, value)
    except PySparkException as error:
        raise UsageError(f"spark_conf: {redacted(f'{key}={value}')}: {_refusal(error)}") from None


def _refusal(error: "PySparkException") -> str:
    """Return what Spark said; `str(error)` would ask the JVM, which may be broken or about to go."""
    return first_line(Exception(getattr(error, "_desc", None) or type(error).__name__))


@contextlib.contextmanager
def _given(conf: "SparkConf", extra: dict[str, str]) -> Iterator["SparkSession"]:
    from pyspark.sql import SparkSession

    with _own_interrupt():
        spark = SparkSession.builder.config(conf=conf.setAll(list(extra.items()))).getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()


@contextlib.contextmanager
def _local(conf: "SparkConf", cores: int, extra: dict[str, str], *, s3: bool) -> Iterator["SparkSession"]:
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with tempfile.TemporaryDirectory(prefix="verger-", ignore_cleanup_errors=True) as folder:
        # local[N] alone never retries a task.
        conf.setMaster(f"local[{cores or '*'},{TASK_ATTEMPTS}]")
        conf.setAll([*LOCAL.items(), *_places(Path(folder)).items(), *spark_settings(s3=s3).items()])
        conf.setAll([*(_LOCAL_S3.items() if s3 else ()), *extra.items()])
        gateway = launch(conf, Path(folder) / "spark.log")
        spark: SparkSession | None = None
        try:
            with _own_interrupt():
                context = SparkContext(conf=conf, gateway=gateway)
            spark = SparkSession(context)
            yield spark
        except (Py4JError, ConnectionRefusedError, ConnectionResetError) as error:
            raise PlatformError(f"the Java side of Spark failed: {_telling(error)}") from error
        except PySparkException as error:
            raise PlatformError(f"Spark refused: {_refusal(error)}") from None
        finally:
            _stop(spark, gateway)


def launch(conf: "SparkConf", log: Path) -> Any:
    """Start a JVM for `conf` with its output in `log`, and return its gateway.

    PySpark writes settings on the command line, where every user of the machine can read them: those that hold a secret
    are left out, and come by the gateway once a context is made with `conf`.

    Raises
    ------
    PlatformError
        It did not start; the message says why in one line.
    """
    from pyspark import SparkConf
    from pyspark.accumulators import AccumulatorTCPServer
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway

    # It prints a traceback where the JVM dies, which others find out and tell.
    AccumulatorTCPServer.handle_error = _silent  # type: ignore[method-assign]

    public = SparkConf(loadDefaults=False).setAll([each for each in conf.getAll() if not is_secret(each[0])])
    with log.open("wb") as output, ThreadPoolExecutor(1) as thread:
        # Ctrl-C comes to the main thread: a launch that is cut leaves a JVM that nobody can end.
        launched = thread.submit(launch_gateway, public, {"stdout": output, "stderr": output})
        try:
            return launched.result()
        except PySparkRuntimeError:
            raise PlatformError(_why(log.read_text("utf-8", "replace"))) from None
        except KeyboardInterrupt:
            with contextlib.suppress(PySparkRuntimeError):
                _stop(None, launched.result())
            raise


def _silent(self: Any, request: Any, client_address: Any) -> None:
    """Say nothing of a connection that broke."""


# Compiled once and cheaply: 30 % off every start, and the cores are the workers'. No file of counters in /tmp.
_JVM_FLAGS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"


def _places(folder: Path) -> dict[str, str]:
    log4j = Path(__file__).with_name("log4j2.properties").as_uri()
    return {
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.driver.extraJavaOptions": f"{_JVM_FLAGS} -Dlog4j2.configurationFile={log4j} -Djava.io.tmpdir={folder}",
    }


def _why(said: str) -> str:
    if "unresolved dependency" in said or "Server access error" in said or "download failed" in said:
        return (
            "the Delta jars could not be fetched from Maven Central: connect once and run `make setup` "
            "(or `python -m conf.jars`); they are kept for later starts"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "Exception" in line] or lines[-1:] or ["it said nothing"]
    return f"the Java side of Spark did not start: {telling[0][:300]}"


@contextlib.contextmanager
def _own_interrupt() -> Iterator[None]:
    """Keep the caller's handler of Ctrl-C: PySpark sets its own, which cancels every job, so a batch would be cut."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)


def _telling(error: Exception) -> str:
    java = getattr(error, "java_exception", None)
    return first_line(error if java is None else Exception(java.toString()))


def _stop(spark: "SparkSession | None", gateway: Any) -> None:
    """Stop Spark and wait for its JVM, so that no process and no temporary file outlives the command."""
    from py4j.protocol import Py4JError
    from pyspark import SparkContext

    # A JVM that died has nothing left to stop.
    with contextlib.suppress(Py4JError, ConnectionError):
        if spark is not None:
            spark.stop()
    with contextlib.suppress(Py4JError, OSError):
        gateway.shutdown()
    with contextlib.suppress(OSError):
        gateway.proc.stdin.close()
    try:
        gateway.proc.wait(timeout=20)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()
    # PySpark keeps the gateway in class attributes, for a next context that would find a dead JVM.
    SparkContext._gateway = None
    SparkContext._jvm = None
