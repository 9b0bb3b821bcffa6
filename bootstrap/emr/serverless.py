"""Jobs on an application of EMR Serverless."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from bootstrap.emr import account
from bootstrap.emr.deployment import Deployment
from bootstrap.emr.jobs import Job, submit_parameters
from bootstrap.emr.runs import Run
from conf.errors import AccountError

# Of a job that has an end.
_ATTEMPTS = 2
ACTIVE = ("SUBMITTED", "PENDING", "SCHEDULED", "QUEUED", "RUNNING", "CANCELLING")


@dataclass(frozen=True)
class Serverless:
    """The application of a deployment.

    Attributes
    ----------
    deployment : Deployment
    client : boto3 client
        Of EMR Serverless.
    """

    deployment: Deployment
    client: Any

    def request(self, job: Job) -> dict[str, Any]:
        """Return what `submit` sends: what has no end is tried again after failures, what has one has a time limit."""
        endless = {"mode": "STREAMING", "retryPolicy": {"maxFailedAttemptsPerHour": job.retries}}
        ending = {
            "mode": "BATCH",
            "executionTimeoutMinutes": job.minutes,
            "retryPolicy": {"maxAttempts": _ATTEMPTS},
        }
        return {
            "applicationId": self.deployment.id,
            # Whoever sends the same request twice, as boto3 does after a lost answer, gets one job.
            "clientToken": uuid4().hex,
            "executionRoleArn": job.role,
            "name": job.name,
            **(endless if job.endless else ending),
            "jobDriver": {
                "sparkSubmit": {
                    "entryPoint": job.entry,
                    "entryPointArguments": list(job.arguments),
                    "sparkSubmitParameters": submit_parameters(job.spark),
                }
            },
            "configurationOverrides": {
                "monitoringConfiguration": {
                    # The bucket encrypts them, in the name of the job's role.
                    "s3MonitoringConfiguration": {"logUri": self.deployment.logs},
                    # Spark's pages are made from what is kept there.
                    "managedPersistenceMonitoringConfiguration": {"enabled": True},
                }
            },
            "tags": {"verger:stack": self.deployment.stack, "verger:leg": job.leg},
        }

    def submit(self, request: dict[str, Any]) -> str:
        """Submit a job and return the id of its run."""
        return str(account.call(self.client, "start_job_run", **request)["jobRunId"])

    def newest(self, name: str) -> Run | None:
        """Return the run of this name that is active, else the last one, else None."""
        found = [
            each
            for page in account.pages(self.client, "list_job_runs", applicationId=self.deployment.id)
            for each in page["jobRuns"]
            if each.get("name") == name
        ]
        newest = max(found, key=lambda each: (each["state"] in ACTIVE, each["createdAt"]), default=None)
        return None if newest is None else _run(newest["id"], newest)

    def look(self, run: Run) -> Run:
        """Return a run as it is now, with its attempt and what it has used."""
        of = {"applicationId": self.deployment.id, "jobRunId": run.id}
        return _run(run.id, account.call(self.client, "get_job_run", **of)["jobRun"])

    def cancel(self, run: Run, seconds: int) -> str:
        """Cancel a run; one that has ended meanwhile is told as that."""
        request = {"applicationId": self.deployment.id, "jobRunId": run.id, "shutdownGracePeriodInSeconds": seconds}
        try:
            account.call(self.client, "cancel_job_run", **request)
        except AccountError as error:
            ended = self.look(run) if error.code == "ValidationException" else run
            if ended.active:
                raise
            return f"{run.id} had ended already ({ended.state})"
        return f"{run.id} is being cancelled, and has {seconds} s to end"

    def page(self, run: Run) -> str:
        """Return the URL of Spark's pages of a run, valid for an hour."""
        of = {"applicationId": self.deployment.id, "jobRunId": run.id}
        return str(account.call(self.client, "get_dashboard_for_job_run", **of).get("url", ""))


def _run(id: str, told: Mapping[str, Any]) -> Run:
    # What is billed is told once it has ended.
    used = told.get("billedResourceUtilization") or told.get("totalResourceUtilization") or {}
    active = told["state"] in ACTIVE
    began = told.get("attemptCreatedAt") or told.get("startedAt") or told["createdAt"]
    return Run(
        id=id,
        name=told.get("name", ""),
        state=told["state"],
        running=told["state"] == "RUNNING",
        active=active,
        succeeded=told["state"] == "SUCCESS",
        since=began if active else told.get("endedAt") or told["updatedAt"],
        attempt=told.get("attempt"),
        detail=told.get("stateDetails") or "",
        vcpu_hours=used.get("vCPUHour"),
        gb_hours=used.get("memoryGBHour"),
    )
