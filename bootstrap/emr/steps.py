"""Jobs as steps of a cluster of EMR on EC2.

What could not be tried without an account: whether a cluster whose steps have roles of their own takes a step that is
no spark-submit, as the one that kills an application is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bootstrap.emr import account
from bootstrap.emr.deployment import Deployment
from bootstrap.emr.jobs import Job, submit_command
from bootstrap.emr.runs import Run
from conf.errors import AccountError

ACTIVE = ("PENDING", "RUNNING", "CANCEL_PENDING")
_RUNNER = "command-runner.jar"
# For where EMR has not told of which application of YARN a step is.
_KILL_BY_NAME = (
    "yarn application -list -appTypes SPARK -appStates SUBMITTED,ACCEPTED,RUNNING | awk -F'\\t' -v name='{name}' "
    '\'{{gsub(/^ +| +$/, "", $1); gsub(/^ +| +$/, "", $2)}} $2 == name {{print $1}}\' | xargs -r yarn application -kill'
)


@dataclass(frozen=True)
class Steps:
    """The cluster of a deployment.

    Attributes
    ----------
    deployment : Deployment
    client : boto3 client
        Of EMR.
    """

    deployment: Deployment
    client: Any

    def request(self, job: Job) -> dict[str, Any]:
        """Return what `submit` sends: one step, with the role of its leg."""
        return self._request(job.name, job.role, submit_command(job))

    def submit(self, request: dict[str, Any]) -> str:
        """Submit a job and return the id of its step."""
        return str(account.call(self.client, "add_job_flow_steps", **request)["StepIds"][0])

    def newest(self, name: str) -> Run | None:
        """Return the step of this name that is active, else the last one, else None."""
        found = [
            each
            for page in account.pages(self.client, "list_steps", ClusterId=self.deployment.id)
            for each in page.get("Steps", [])
            if each.get("Name") == name
        ]
        newest = max(
            found,
            key=lambda each: (each["Status"]["State"] in ACTIVE, each["Status"]["Timeline"]["CreationDateTime"]),
            default=None,
        )
        return None if newest is None else _run(newest)

    def look(self, run: Run) -> Run:
        """Return a step as it is now."""
        of = {"ClusterId": self.deployment.id, "StepId": run.id}
        return _run(account.call(self.client, "describe_step", **of)["Step"])

    def cancel(self, run: Run, seconds: int) -> str:
        """End a step, and its application: that runs apart, and a step that is ended leaves it alone.

        It gets no seconds: `stop` has given it its time before.
        """
        of = {"ClusterId": self.deployment.id, "StepIds": [run.id], "StepCancellationOption": "SEND_INTERRUPT"}
        told = account.call(self.client, "cancel_steps", **of).get("CancelStepsInfoList", [])
        refused = next((each.get("Reason", "") for each in told if each.get("Status") == "FAILED"), None)
        if refused is not None and self.look(run).active:
            raise AccountError(f"elasticmapreduce:CancelSteps was refused: {refused}")
        if refused is not None:
            return f"{run.id} had ended already"
        command = (
            ["yarn", "application", "-kill", *run.applications]
            if run.applications
            else ["bash", "-c", _KILL_BY_NAME.format(name=run.name)]
        )
        kill = self._request(f"end {run.name}", self.deployment.stream_role, command)
        return f"{run.id} is being cancelled, and {self.submit(kill)} ends its application"

    def page(self, run: Run) -> str:
        """Return the URL of Spark's history of the cluster, which is there for a month after its end."""
        cluster = account.call(self.client, "describe_cluster", ClusterId=self.deployment.id)["Cluster"]
        target = {"TargetResourceArn": cluster["ClusterArn"], "ProfilerType": "SHS"}
        made = account.call(self.client, "create_persistent_app_ui", **target)
        role = {"ExecutionRoleArn": self.deployment.stream_role} if made.get("RuntimeRoleEnabledCluster") else {}
        of = {"PersistentAppUIId": made["PersistentAppUIId"], "PersistentAppUIType": "SHS", **role}
        told = account.call(self.client, "get_persistent_app_ui_presigned_url", **of)
        if not told.get("PresignedURLReady") or not told.get("PresignedURL"):
            raise AccountError("Spark's history of the cluster is being prepared: ask again in a few minutes")
        return str(told["PresignedURL"])

    def _request(self, name: str, role: str, command: list[str]) -> dict[str, Any]:
        step = {
            "Name": name,
            # What ends the cluster is refused where several steps may run at once.
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": _RUNNER, "Args": command},
        }
        return {"JobFlowId": self.deployment.id, "Steps": [step], "ExecutionRoleArn": role}


def _run(told: Mapping[str, Any]) -> Run:
    status = told["Status"]
    times, failure = status.get("Timeline", {}), status.get("FailureDetails", {})
    active = status["State"] in ACTIVE
    why = (failure.get("Reason"), failure.get("Message"), status.get("StateChangeReason", {}).get("Message"))
    return Run(
        id=told["Id"],
        name=told["Name"],
        state=status["State"],
        running=status["State"] == "RUNNING",
        active=active,
        succeeded=status["State"] == "COMPLETED",
        since=times.get("StartDateTime" if active else "EndDateTime") or times.get("CreationDateTime"),
        detail=": ".join(each for each in why if each),
        applications=tuple(told.get("AdditionalInfo", {}).get("ResourceManagerApplicationIds", ())),
    )
