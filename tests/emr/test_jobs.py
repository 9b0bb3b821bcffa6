"""What is submitted: Spark's settings and bounds, on either platform."""

import pytest

from bootstrap.commands.legs import REFIT, STREAM
from bootstrap.emr import jobs
from bootstrap.emr.deployment import Kind
from conf.errors import UsageError
from tests.emr.deployed import OUTPUTS, after, deployed, given

PACKAGE = OUTPUTS["Package"]
JARS = "/usr/share/aws/delta/lib/delta-spark.jar,/usr/share/aws/delta/lib/delta-storage.jar"
USUAL = (
    f"--conf spark.archives={PACKAGE}/environment.tar.gz#environment "
    "--conf spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON=./environment/bin/python "
    "--conf spark.emr-serverless.driverEnv.PYSPARK_PYTHON=./environment/bin/python "
    "--conf spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python "
    f"--conf spark.emr-serverless.driverEnv.VERGER_DRIVER_PACKAGES={PACKAGE}/driver.tar.gz "
    f"--conf spark.jars={JARS} "
    "--conf spark.driver.cores=4 --conf spark.driver.memory=6g --conf spark.driver.memoryOverhead=8g "
    "--conf spark.executor.cores=4 --conf spark.executor.memory=4g --conf spark.executor.memoryOverhead=8g "
    "--conf spark.executor.instances=2 --conf spark.dynamicAllocation.enabled=false"
)


def stream(kind: Kind = "serverless", sizes: dict[str, str] | None = None, retries: int = 5, **flags: str) -> jobs.Job:
    """Give the stream as it is submitted."""
    return jobs.stream(STREAM, given(**flags), deployed(kind), sizes or {}, retries)


def test_a_job_of_serverless_as_a_whole() -> None:
    """The very text that the schedule of the template says, too."""
    job = stream()
    assert jobs.submit_parameters(job.spark) == USUAL
    assert (job.name, job.entry, job.role) == ("verger stream", f"{PACKAGE}/entry.py", OUTPUTS["StreamRole"])
    refit = jobs.refit(REFIT, given(), deployed(), {})
    assert jobs.submit_parameters(refit.spark) == USUAL == jobs.submit_parameters(jobs.settings("serverless", PACKAGE))
    assert (refit.name, refit.arguments, refit.minutes) == (
        "verger refit",
        ("refit", "--lake", OUTPUTS["Lake"], "--s3-region", "eu-west-3"),
        720,
    )
    assert refit.role == OUTPUTS["RefitRole"]


def test_a_job_of_a_cluster_as_a_whole() -> None:
    """Its driver is YARN's, which forgets failures after an hour; archives, Python and sizes are the same."""
    assert jobs.submit_command(stream("cluster", retries=4)) == [
        "spark-submit", "--deploy-mode", "cluster", "--name", "verger stream",
        "--archives", f"{PACKAGE}/environment.tar.gz#environment",
        "--conf", "spark.yarn.am.waitTime=540s",
        "--conf", "spark.yarn.maxAppAttempts=4",
        "--conf", "spark.yarn.am.attemptFailuresValidityInterval=1h",
        "--conf", "spark.executor.maxNumFailures=16",
        "--conf", "spark.executor.failuresValidityInterval=1h",
        "--conf", "spark.yarn.appMasterEnv.PYSPARK_DRIVER_PYTHON=./environment/bin/python",
        "--conf", "spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python",
        "--conf", "spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python",
        "--conf", f"spark.yarn.appMasterEnv.VERGER_DRIVER_PACKAGES={PACKAGE}/driver.tar.gz",
        "--conf", f"spark.jars={JARS}",
        "--conf", "spark.driver.cores=4", "--conf", "spark.driver.memory=6g",
        "--conf", "spark.driver.memoryOverhead=8g",
        "--conf", "spark.executor.cores=4", "--conf", "spark.executor.memory=4g",
        "--conf", "spark.executor.memoryOverhead=8g",
        "--conf", "spark.executor.instances=2", "--conf", "spark.dynamicAllocation.enabled=false",
        f"{PACKAGE}/entry.py",
        "stream", "--landing", "s3://landing", "--lake", "s3://lake/lake",
        "--discover", "notifications", "--queue", OUTPUTS["Queue"], "--s3-region", "eu-west-3",
    ]  # fmt: skip


def test_a_refit_on_a_cluster_is_tried_once() -> None:
    """The schedule comes again."""
    assert jobs.refit(REFIT, given(), deployed("cluster"), {}).spark["spark.yarn.maxAppAttempts"] == "1"


class TestOwnSettings:
    """Verger's own, below `spark_conf`, below the options."""

    def test_the_narrowest_holds_and_the_application_is_told_the_same(self) -> None:
        """It would set what it is told again, over what spark-submit was."""
        own = "spark.executor.instances=6 spark.executor.cores=8 spark.executor.memory=20g spark.sql.x=y"
        job = stream(sizes={"spark.executor.instances": "3"}, spark_conf=own)
        assert job.spark["spark.executor.instances"] == "3"
        assert (job.spark["spark.executor.cores"], job.spark["spark.sql.x"]) == ("8", "y")
        assert after("--spark-conf", job.arguments) == own.replace("=6", "=3")

    @pytest.mark.parametrize("name", ["spark.jars", "spark.archives"])
    def test_further_jars_and_archives_are_added(self, name: str) -> None:
        """The environment and Delta stay."""
        job = stream(spark_conf=f"{name}=s3://mine/more.zip")
        assert job.spark[name].split(",")[-1] == "s3://mine/more.zip"
        assert job.spark[name].startswith((PACKAGE, "/usr/share/aws/delta"))
        assert after("--spark-conf", job.arguments) == f"{name}={job.spark[name]}"

    def test_a_clusters_bounds_follow_its_executors(self) -> None:
        """And may be said otherwise."""
        job = stream("cluster", sizes={"spark.executor.instances": "10"})
        assert job.spark["spark.executor.maxNumFailures"] == "80"
        assert (
            stream("cluster", spark_conf="spark.executor.maxNumFailures=7").spark["spark.executor.maxNumFailures"]
            == "7"
        )

    def test_a_worker_that_serverless_does_not_have_is_refused(self) -> None:
        """On a cluster its machines decide."""
        with pytest.raises(UsageError, match="executor: EMR Serverless has no worker of 6 cores"):
            stream(sizes={"spark.executor.cores": "6"})
        assert stream("cluster", sizes={"spark.executor.cores": "6"}).spark["spark.executor.cores"] == "6"

    def test_executors_are_counted(self) -> None:
        """In whole numbers."""
        with pytest.raises(UsageError, match=r"spark\.executor\.instances=some is no whole number"):
            stream("cluster", spark_conf="spark.executor.instances=some")


@pytest.mark.parametrize("retries", [0, 11, -1])
def test_retries_are_one_to_ten(retries: int) -> None:
    """What botocore would send, whatever it is."""
    with pytest.raises(UsageError, match=f"--retries {retries}: it must be 1 to 10"):
        stream(retries=retries)


@pytest.mark.parametrize("minutes", [0, 4, 10081])
def test_a_refits_time_is_bounded(minutes: int) -> None:
    """And never none."""
    with pytest.raises(UsageError, match=f"--timeout {minutes}: it must be 5 to 10080"):
        jobs.refit(REFIT, given(), deployed(), {}, minutes)


def test_a_step_has_no_time_limit() -> None:
    """Who asks for one is told."""
    with pytest.raises(UsageError, match="--timeout: a step of a cluster has no time limit"):
        jobs.refit(REFIT, given(), deployed("cluster"), {}, 60)


def test_without_a_package_it_says_how_one_is_made() -> None:
    """For the stack's machines."""
    with pytest.raises(
        UsageError, match=r"names no package: make one \(`verger emr package --arch x86_64 .* --package"
    ):
        jobs.stream(STREAM, given(), deployed(package=""), {})
