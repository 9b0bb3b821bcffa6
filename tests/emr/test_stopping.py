"""The end of a stream: its driver is asked, and the platform ends what does not."""

from pathlib import Path

import pytest

from bootstrap.emr import running
from bootstrap.emr.serverless import Serverless
from conf import lease
from conf.errors import AccountError, LakeError, StorageError, UsageError
from conf.lake import create_lake
from conf.saying import silent
from streaming.commands.execution import LEG
from tests.emr.deployed import OUTPUTS, Said, deployed, scripted
from tests.emr.test_serverless import ID, OF, looked, run, there

RUNNING = there(run("RUNNING"))


def cancelled(seconds: int) -> Said:
    """Give the cancellation that is expected."""
    return Said("cancel_job_run", OF, {**OF, "shutdownGracePeriodInSeconds": seconds})


class Clock:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def stop(*script: Said, driver: bool | Exception | None = True, grace: int = 20) -> str:
    """Stop a stream whose driver answers so; the lake and the seconds that it is asked with are checked."""
    clock = Clock()

    def ask(lake: str, seconds: float) -> bool | None:
        assert (lake, seconds) == (OUTPUTS["Lake"], grace)
        if isinstance(driver, Exception):
            raise driver
        return driver

    with scripted("emr-serverless", *script) as client:
        where = Serverless(deployed(), client)
        return running.stop(where, deployed(), grace, silent, ask, clock.sleep, clock)


def test_a_driver_that_ends_as_it_was_asked_to_needs_no_platform() -> None:
    """Its job is waited for, which takes a moment more."""
    told = stop(RUNNING, looked("RUNNING"), looked("RUNNING"), looked("SUCCESS"))
    assert told == f"the stream on {OUTPUTS['Lake']} has ended as it was asked to: {ID} is SUCCESS"


def test_a_driver_that_goes_on_is_cancelled_after_its_grace() -> None:
    """With as many seconds again."""
    told = stop(RUNNING, cancelled(20), driver=False)
    assert told == f"its driver did not end within 20 s: {ID} is being cancelled, and has 20 s to end"


def test_a_job_that_outlives_its_driver_is_cancelled() -> None:
    """When the grace is over."""
    told = stop(RUNNING, *[looked("RUNNING")] * 5, cancelled(20))
    assert told.startswith("its driver ended as it was asked to, and the job did not: ")


def test_a_job_without_a_driver_is_cancelled_at_once() -> None:
    """It has not begun yet, or is between two attempts."""
    told = stop(there(run("PENDING")), cancelled(20), driver=None)
    assert told.startswith(f"no driver has begun on {OUTPUTS['Lake']}: {ID} is being cancelled")


@pytest.mark.parametrize("error", [LakeError("no lake at s3://lake/lake"), StorageError("access is denied")])
def test_a_lake_that_cannot_be_reached_does_not_keep_the_job_alive(error: Exception) -> None:
    """It is cancelled, and why is told."""
    assert stop(RUNNING, cancelled(20), driver=error).startswith(f"its driver could not be asked ({error}): {ID} is")


def test_a_job_that_ends_before_it_is_cancelled_has_ended() -> None:
    """The platform says so."""
    refusal = Said("cancel_job_run", refused="ValidationException", message="The job run is in a terminal state")
    assert stop(RUNNING, refusal, looked("FAILED"), driver=False).endswith(f": {ID} had ended already (FAILED)")


def test_where_none_runs_nobody_is_asked() -> None:
    """The last one is told, where there was one."""
    assert stop(there(), driver=AssertionError()) == "no stream of the stack verger runs"
    assert stop(there(run("FAILED")), driver=AssertionError()) == (
        f"no stream of the stack verger runs; the last one, {ID}, is FAILED since 2026-11-20 08:00 UTC"
    )


def test_a_refusal_to_cancel_is_raised() -> None:
    """The stream goes on then."""
    refusal = Said("cancel_job_run", refused="AccessDeniedException", message="no")
    with pytest.raises(AccountError, match="may not emr-serverless:CancelJobRun;"):
        stop(RUNNING, refusal, driver=False)


@pytest.mark.parametrize("grace", [0, 14, 1801])
def test_the_grace_is_what_the_platform_takes(grace: int) -> None:
    """Whatever botocore would send."""
    with pytest.raises(UsageError, match=f"--grace {grace}: it must be 15 to 1800 seconds"):
        stop(grace=grace)


def test_the_driver_is_found_by_the_lease_of_its_lake(tmp_path: Path) -> None:
    """None without one; one that goes on has not ended."""
    with pytest.raises(LakeError):
        running.ask_driver(str(tmp_path / "lake"), 0)
    lake = create_lake(str(tmp_path / "lake"))
    assert running.ask_driver(str(lake.root), 0) is None
    with lease.hold(lake.lease(LEG)):
        assert running.ask_driver(str(lake.root), 0) is False
