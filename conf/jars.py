"""The Delta jars of a local session, by Maven coordinates; `python -m conf.jars` fetches them once.

Spark resolves coordinates with Ivy at every start, which costs a second. Once the files lie in Ivy's cache they are
named by path instead.
"""

import tempfile
from importlib.metadata import version
from pathlib import Path

from conf.errors import PlatformError

_DELTA = version("delta-spark")
COORDINATES = (
    f"io.delta:delta-spark_4.1_2.13:{_DELTA}",
    f"io.delta:delta-storage:{_DELTA}",
    f"io.delta:delta-kernel-api:{_DELTA}",
    f"io.delta:delta-kernel-defaults:{_DELTA}",
    f"io.delta:delta-kernel-unitycatalog:{_DELTA}",
)
# What else Delta's descriptor names is in Spark's own jars already (Hadoop alone is 50 MB).
EXCLUDES = (
    "com.fasterxml.jackson.core:*",
    "com.fasterxml.jackson.datatype:*",
    "com.github.luben:*",
    "com.google.code.findbugs:*",
    "commons-logging:*",
    "commons-pool:*",
    "io.airlift:*",
    "io.unitycatalog:*",
    "javax.annotation:*",
    "org.apache.hadoop:*",
    "org.apache.logging.log4j:*",
    "org.apache.parquet:*",
    "org.locationtech.jts:*",
    "org.roaringbitmap:*",
    "org.slf4j:*",
    "org.xerial.snappy:*",
)
IVY = Path.home() / ".ivy2.5.2"


def spark_settings() -> dict[str, str]:
    """Return the Spark settings that put Delta on the class path: file paths where cached, else coordinates."""
    cached = [IVY / "jars" / f"{coordinate.replace(':', '_', 1).replace(':', '-')}.jar" for coordinate in COORDINATES]
    if all(path.is_file() for path in cached):
        return {"spark.jars": ",".join(map(str, cached))}
    return {
        "spark.jars.packages": ",".join(COORDINATES),
        "spark.jars.excludes": ",".join(EXCLUDES),
        "spark.jars.ivy": str(IVY),
    }


def main() -> None:
    """Fetch the jars into Ivy's cache, so that the first session starts without a network."""
    from pyspark import SparkConf

    from conf.session import check_java, launch

    check_java()
    with tempfile.TemporaryDirectory() as folder:
        gateway = launch(SparkConf(loadDefaults=False).setAll(list(spark_settings().items())), Path(folder) / "jvm.log")
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait()


if __name__ == "__main__":
    try:
        main()
    except PlatformError as error:
        raise SystemExit(f"verger: {error}") from None
