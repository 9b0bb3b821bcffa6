"""The package that `verger emr package` makes runs both legs on a real cluster, and survives the loss of a worker.

Executors have the packed environment and nothing else of Verger's, the driver besides the packages that its entry
fetches; landing, queue and lake are moto's. What is left holds the rules of ARCHITECTURE.md, as the fault suite checks
them.
"""

import platform
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from bootstrap.commands.legs import REFIT, STREAM
from bootstrap.emr import jobs
from bootstrap.emr.packing.package import ARCHIVE, make
from bootstrap.emr.packing.upload import upload
from conf.lake import create_lake
from streaming.backbones.shelf import Compiled, save
from streaming.commands import errands
from tests.cluster.standalone import Cluster, running
from tests.emr.deployed import deployed, given
from tests.faults.ledger import BucketZone, Ledger
from tests.faults.reading import Tables
from tests.faults.rules import Reader, Reference
from tests.storage.cloud import Cloud

pytestmark = pytest.mark.slow
_PATIENCE = 150.0
# Bytes, unpacked, of what a machine of a job has to fetch.
_LARGEST = 250e6
_MACHINE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
_PYTHON = Path(getattr(sys, "_base_executable", sys.executable)).resolve()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the package once, for the Python of this machine, and return its folder."""
    made, folder = make(_MACHINE, tmp_path_factory.mktemp("packages"), python=str(_PYTHON))
    assert max(made.environment.unpacked, made.driver.unpacked) < _LARGEST
    return folder


@pytest.fixture
def cluster(tmp_path: Path, aws: Cloud) -> Iterator[Cluster]:
    """Run a master and two workers."""
    with running(tmp_path / "cluster", aws, workers=2) as started:
        yield started


def test_both_legs_run_from_the_package_and_one_worker_may_die(
    packed: Path, cluster: Cluster, aws: Cloud, tmp_path: Path, embedded: Compiled
) -> None:
    """Every picture that lands before and after a worker's death has its outcome; stop ends the stream with 0."""
    bucket = aws.bucket("landing")
    queue = aws.queue_of(bucket)
    lake = f"s3://{aws.bucket('lake')}/lake"
    ledger = Ledger(BucketZone(aws, bucket, "in"), Random(8))
    tables = Tables(lake, aws.environment())
    reader = Reader(tables, ledger, Reference(embedded))
    paths = create_lake(lake)
    save(embedded, paths.backbones)
    there = deployed(
        "cluster",
        package=upload(packed, f"s3://{aws.bucket('packages')}/packages"),
        landing=f"s3://{bucket}/in",
        stack_landing=f"s3://{bucket}/in",
        lake=lake,
        queue=queue,
    )
    environment = _unpacked(packed, tmp_path / "driver" / "environment")

    ledger.land(60)
    asked = given(
        backbone=(f"efficientnet-lite0@{embedded.backbone.preparation.size}",),
        batch_pictures=30,
        idle_timeout=20,
        lease=10.0,
    )
    stream = cluster.submit(jobs.stream(STREAM, asked, there, {}), environment)
    stream.until(reader.complete, _PATIENCE)
    used = [worker for worker in cluster.workers if cluster.executors(worker)]
    assert used == list(cluster.workers), "each worker runs an executor"

    ledger.land(60)
    stream.until(lambda: tables.rows("arrivals") > 60, _PATIENCE)
    cluster.workers[0].kill()
    ledger.land(30)
    stream.until(reader.complete, _PATIENCE)

    answer = errands.have_stopped(paths)
    assert (answer.exit_code, stream.wait(30)) == (0, 0), stream.last_lines()

    refit = cluster.submit(jobs.refit(REFIT, given(components=8), there, {}), environment)
    assert refit.wait(120) == 0, refit.last_lines()
    assert len(list(environment.parent.glob("driver-*"))) == 1, "the second driver takes what the first one unpacked"
    assert tables.rows("components") > 100
    assert reader.violations() == []


def _unpacked(packed: Path, folder: Path) -> Path:
    """Unpack the environment as a platform does for a driver."""
    with tarfile.open(packed / ARCHIVE) as archive:
        archive.extractall(folder, filter="fully_trusted")
    return folder
