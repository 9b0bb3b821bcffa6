"""The jars of a local session, Delta's and those for S3, by Maven coordinates; `python -m conf.jars` fetches them once.

Spark resolves coordinates with Ivy at every start, which costs a second. Once the files lie in Ivy's cache they are
named by path instead.
"""

import tempfile
from importlib.metadata import version
from pathlib import Path

from conf.errors import PlatformError

_DELTA = (
    "delta-spark_4.1_2.13",
    "delta-storage",
    "delta-kernel-api",
    "delta-kernel-defaults",
    "delta-kernel-unitycatalog",
)
# Hadoop's own connector and what it needs of Amazon's SDK, whose bundle of everything would be 650 MB.
_SDK = (
    "annotations",
    "apache-client",
    "arns",
    "auth",
    "aws-core",
    "aws-json-protocol",
    "aws-query-protocol",
    "aws-xml-protocol",
    "checksums",
    "checksums-spi",
    "crt-core",
    "endpoints-spi",
    "http-auth",
    "http-auth-aws",
    "http-auth-aws-eventstream",
    "http-auth-spi",
    "http-client-spi",
    "identity-spi",
    "json-utils",
    "kms",
    "metrics-spi",
    "netty-nio-client",
    "profiles",
    "protocol-core",
    "regions",
    "retries",
    "retries-spi",
    "s3",
    "s3-transfer-manager",
    "sdk-core",
    "sts",
    "third-party-jackson-core",
    "utils",
)
S3 = (
    "org.apache.hadoop:hadoop-aws:3.4.2",
    *(f"software.amazon.awssdk:{name}:2.29.52" for name in _SDK),
    "software.amazon.eventstream:eventstream:1.0.1",
    "software.amazon.s3.analyticsaccelerator:analyticsaccelerator-s3:1.2.1",
    "org.reactivestreams:reactive-streams:1.0.4",
    "org.wildfly.openssl:wildfly-openssl:2.1.4.Final",
)
# What else their descriptors name is in Spark's own jars already, or never called.
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
    "org.apache.hadoop:hadoop-[b-z]*",
    "org.apache.httpcomponents:*",
    "commons-codec:*",
    "io.netty:*",
    "software.amazon.awssdk:bundle",
    "org.apache.logging.log4j:*",
    "org.apache.parquet:*",
    "org.locationtech.jts:*",
    "org.roaringbitmap:*",
    "org.slf4j:*",
    "org.xerial.snappy:*",
)
IVY = Path.home() / ".ivy2.5.2"


def delta() -> tuple[str, ...]:
    """Return the coordinates of Delta's jars, in the version of the package that is installed.

    A platform brings jars of its own and no package; nobody asks there.
    """
    return tuple(f"io.delta:{name}:{version('delta-spark')}" for name in _DELTA)


def spark_settings(*, s3: bool = False) -> dict[str, str]:
    """Return the Spark settings that put Delta on the class path, and what S3 needs: as files where cached."""
    coordinates = (*delta(), *S3) if s3 else delta()
    cached = [IVY / "jars" / f"{coordinate.replace(':', '_', 1).replace(':', '-')}.jar" for coordinate in coordinates]
    if all(path.is_file() for path in cached):
        return {"spark.jars": ",".join(map(str, cached))}
    return {
        "spark.jars.packages": ",".join(coordinates),
        "spark.jars.excludes": ",".join(EXCLUDES),
        "spark.jars.ivy": str(IVY),
    }


def main() -> None:
    """Fetch the jars into Ivy's cache, so that the first session starts without a network."""
    from pyspark import SparkConf

    from conf.session import check_java, launch

    check_java()
    with tempfile.TemporaryDirectory() as folder:
        gateway = launch(
            SparkConf(loadDefaults=False).setAll(list(spark_settings(s3=True).items())), Path(folder) / "jvm.log"
        )
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait()


if __name__ == "__main__":
    try:
        main()
    except PlatformError as error:
        raise SystemExit(f"verger: {error}") from None
