"""Jobs on EMR Serverless: each request as a whole, held against the service's model."""

from datetime import timedelta
from typing import Any
from unittest.mock import ANY

import pytest

from bootstrap.commands.legs import REFIT, STREAM
from bootstrap.emr import jobs, running
from bootstrap.emr.serverless import ACTIVE, Serverless
from conf.errors import AccountError, UsageError
from tests.emr.deployed import ACCOUNT, APPLICATION, MORNING, OUTPUTS, Said, deployed, given, scripted
from tests.emr.service_model import faults
from tests.emr.test_jobs import USUAL

ID = "00fjobjobjobjob1"
ARN = f"arn:aws:emr-serverless:eu-west-3:{ACCOUNT}:/applications/{APPLICATION}/jobruns/{ID}"
STREAM_JOB = jobs.stream(STREAM, given(), deployed(), {})
MONITORING = {
    "s3MonitoringConfiguration": {"logUri": OUTPUTS["Logs"]},
    "managedPersistenceMonitoringConfiguration": {"enabled": True},
}
REQUEST = {
    "applicationId": APPLICATION,
    "clientToken": ANY,
    "executionRoleArn": OUTPUTS["StreamRole"],
    "name": "verger stream",
    "mode": "STREAMING",
    "retryPolicy": {"maxFailedAttemptsPerHour": 5},
    "jobDriver": {
        "sparkSubmit": {
            "entryPoint": f"{OUTPUTS['Package']}/entry.py",
            "entryPointArguments": list(STREAM_JOB.arguments),
            "sparkSubmitParameters": USUAL,
        }
    },
    "configurationOverrides": {"monitoringConfiguration": MONITORING},
    "tags": {"verger:stack": "verger", "verger:leg": "stream"},
}
STARTED = {"applicationId": APPLICATION, "jobRunId": ID, "arn": ARN}
LISTED = {"applicationId": APPLICATION}
ANNA = f"arn:aws:iam::{ACCOUNT}:user/anna"
OF = {"applicationId": APPLICATION, "jobRunId": ID}


def run(state: str, hours: int = 0, **more: Any) -> dict[str, Any]:
    """Give a run as the service lists it, created so many hours after the morning."""
    created = MORNING + timedelta(hours=hours)
    return {
        "applicationId": APPLICATION, "id": ID, "arn": ARN, "name": "verger stream", "createdBy": ANNA,
        "createdAt": created, "updatedAt": created, "executionRole": OUTPUTS["StreamRole"], "state": state,
        "stateDetails": "says the service", "releaseLabel": "emr-spark-8.1.0", **more,
    }  # fmt: skip


def looked(state: str, **more: Any) -> Said:
    """Give what the service says of one run."""
    told = {name: value for name, value in run(state).items() if name != "id"}
    driver = {"sparkSubmit": {"entryPoint": "s3://entry.py"}}
    return Said("get_job_run", {"jobRun": {**told, "jobRunId": ID, "jobDriver": driver, **more}}, OF)


def there(*runs: dict[str, Any]) -> Said:
    """Give what the service lists."""
    return Said("list_job_runs", {"jobRuns": list(runs)}, LISTED)


class TestSubmitting:
    """What is sent."""

    def test_a_stream_as_a_whole(self) -> None:
        """Tried again after failures, without a time limit, on fixed executors, with its own role, logged."""
        with scripted("emr-serverless", there(), Said("start_job_run", STARTED, REQUEST)) as client:
            assert running.submit(Serverless(deployed(), client), deployed(), STREAM_JOB) == ID

    def test_a_refit_as_a_whole(self) -> None:
        """With a time limit, and whatever else runs."""
        job = jobs.refit(REFIT, given(), deployed(), {}, minutes=90)
        submit = {
            "entryPoint": f"{OUTPUTS['Package']}/entry.py",
            "entryPointArguments": ["refit", "--lake", OUTPUTS["Lake"], "--s3-region", "eu-west-3"],
            "sparkSubmitParameters": USUAL,
        }
        request = REQUEST | {
            "executionRoleArn": OUTPUTS["RefitRole"],
            "name": "verger refit",
            "mode": "BATCH",
            "executionTimeoutMinutes": 90,
            "retryPolicy": {"maxAttempts": 2},
            "jobDriver": {"sparkSubmit": submit},
            "tags": {"verger:stack": "verger", "verger:leg": "refit"},
        }
        with scripted("emr-serverless", Said("start_job_run", STARTED, request)) as client:
            assert running.submit(Serverless(deployed(), client), deployed(), job) == ID

    def test_a_drain_has_an_end(self) -> None:
        """A stream with `--once` is no streaming job, which would be started again when it is done."""
        job = jobs.stream(STREAM, given(once=True), deployed(), {})
        request = Serverless(deployed(), None).request(job)
        assert (request["mode"], request["executionTimeoutMinutes"]) == ("BATCH", jobs.USUAL_MINUTES)
        assert request["retryPolicy"] == {"maxAttempts": 2}
        assert "--once" in request["jobDriver"]["sparkSubmit"]["entryPointArguments"]
        assert faults("emr-serverless", "StartJobRun", request) == []

    def test_every_request_is_one_of_its_own(self) -> None:
        """The same one sent twice is one job; another one is another."""
        where = Serverless(deployed(), None)
        tokens = {where.request(STREAM_JOB)["clientToken"] for _ in range(2)}
        assert len(tokens) == 2
        assert faults("emr-serverless", "StartJobRun", where.request(STREAM_JOB)) == []

    @pytest.mark.parametrize("state", ACTIVE)
    def test_a_second_stream_is_refused_and_the_first_named(self, state: str) -> None:
        """Whether it runs or is about to, or is being cancelled; the lease would only let it cost."""
        with scripted("emr-serverless", there(run(state), run("FAILED", 1))) as client:
            said = f"a stream of the stack verger is {state} already: {ID} since 2026-11-20 08:00 UTC; end it first"
            with pytest.raises(UsageError, match=said):
                running.submit(Serverless(deployed(), client), deployed(), STREAM_JOB)

    @pytest.mark.parametrize("runs", [[], [run("FAILED")], [run("RUNNING", name="verger refit")]])
    def test_what_has_ended_or_is_none_does_not_hinder(self, runs: list[dict[str, Any]]) -> None:
        """Nor does a refit."""
        with scripted("emr-serverless", there(*runs), Said("start_job_run", STARTED)) as client:
            assert running.submit(Serverless(deployed(), client), deployed(), STREAM_JOB) == ID

    @pytest.mark.parametrize(
        ("code", "message", "said"),
        [
            ("AccessDeniedException", "not authorized to perform: iam:PassRole on r", "may not iam:PassRole; the role"),
            ("ThrottlingException", "Rate exceeded", "emr-serverless:StartJobRun: AWS throttles"),
            (
                "ResourceNotFoundException",
                "Application 00f does not exist",
                "ResourceNotFoundException: Application 00f",
            ),
        ],
    )
    def test_a_refusal_is_one_line(self, code: str, message: str, said: str) -> None:
        """With what to do where that is known."""
        refusal = Said("start_job_run", refused=code, message=message)
        with scripted("emr-serverless", there(), refusal) as client, pytest.raises(AccountError, match=said) as caught:
            running.submit(Serverless(deployed(), client), deployed(), STREAM_JOB)
        assert "\n" not in str(caught.value)


class TestLooking:
    """What is known of a run."""

    def test_the_active_one_goes_before_a_newer_one_on_any_page(self) -> None:
        """And of those that have ended, the newest."""
        first = {"jobRuns": [run("FAILED", 5), run("RUNNING", 1, id="00factive")], "nextToken": "more"}
        second = {"jobRuns": [run("SUCCESS", 9, id="00flast")]}
        more = Said("list_job_runs", second, {**LISTED, "nextToken": "more"})
        with scripted("emr-serverless", Said("list_job_runs", first, LISTED), more, there(run("FAILED", 5))) as client:
            where = Serverless(deployed(), client)
            active, ended = where.newest("verger stream"), where.newest("verger stream")
        assert active is not None
        assert ended is not None
        assert (active.id, active.running, active.active) == ("00factive", True, True)
        assert (ended.state, ended.running, ended.active) == ("FAILED", False, False)

    def test_one_that_runs_tells_attempt_and_since_when(self) -> None:
        """And what it has used so far."""
        again = MORNING + timedelta(hours=3)
        used = {"vCPUHour": 12.5, "memoryGBHour": 40.0, "storageGBHour": 0.0}
        said = looked("RUNNING", attempt=2, attemptCreatedAt=again, startedAt=MORNING, totalResourceUtilization=used)
        with scripted("emr-serverless", there(run("RUNNING")), said) as client:
            where = Serverless(deployed(), client)
            listed = where.newest("verger stream")
            assert listed is not None
            found = where.look(listed)
        assert (found.attempt, found.since, found.vcpu_hours, found.gb_hours) == (2, again, 12.5, 40.0)

    def test_one_that_has_ended_tells_why_and_what_is_billed(self) -> None:
        """Which is more than what was used."""
        billed = {"vCPUHour": 20.0, "memoryGBHour": 60.0, "storageGBHour": 0.0}
        ended = MORNING + timedelta(hours=9)
        said = looked("FAILED", stateDetails="the driver was lost", endedAt=ended, billedResourceUtilization=billed)
        with scripted("emr-serverless", there(run("FAILED")), said) as client:
            where = Serverless(deployed(), client)
            listed = where.newest("verger stream")
            assert listed is not None
            found = where.look(listed)
        assert (found.detail, found.since, found.vcpu_hours) == ("the driver was lost", ended, 20.0)

    def test_spark_s_pages_have_a_url(self) -> None:
        """Or why they have none."""
        url = "https://j-00f.dashboard.emr-serverless.eu-west-3.amazonaws.com/?authToken=x"
        refusal = Said("get_dashboard_for_job_run", refused="ValidationException", message="is not started yet")
        script = (there(run("RUNNING")), Said("get_dashboard_for_job_run", {"url": url}, OF), refusal)
        with scripted("emr-serverless", *script) as client:
            where = Serverless(deployed(), client)
            listed = where.newest("verger stream")
            assert listed is not None
            assert running.pages_of(where, listed) == (url, "")
            assert "is not started yet" in running.pages_of(where, listed)[1]


class TestCancelling:
    """The platform's own end of a run."""

    def cancel(self, *script: Said) -> str:
        """Cancel the run that is listed."""
        with scripted("emr-serverless", there(run("RUNNING")), *script) as client:
            where = Serverless(deployed(), client)
            listed = where.newest("verger stream")
            assert listed is not None
            return where.cancel(listed, 60)

    def test_it_gets_its_seconds(self) -> None:
        """As they were said."""
        said = self.cancel(Said("cancel_job_run", OF, {**OF, "shutdownGracePeriodInSeconds": 60}))
        assert said == f"{ID} is being cancelled, and has 60 s to end"

    def test_one_that_has_ended_meanwhile_is_told_as_that(self) -> None:
        """The service calls the request invalid."""
        refusal = Said("cancel_job_run", refused="ValidationException", message="The job run is in a terminal state")
        assert self.cancel(refusal, looked("SUCCESS")) == f"{ID} had ended already (SUCCESS)"

    def test_another_refusal_is_raised(self) -> None:
        """Whatever it is of."""
        refusal = Said("cancel_job_run", refused="ValidationException", message="grace period is not supported")
        with pytest.raises(AccountError, match="grace period is not supported"):
            self.cancel(refusal, looked("RUNNING"))
