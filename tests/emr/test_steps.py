"""Jobs as steps of a cluster: each request as a whole, held against the service's model."""

import os
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bootstrap.commands.legs import STREAM
from bootstrap.emr import jobs, running
from bootstrap.emr.runs import Run
from bootstrap.emr.steps import ACTIVE, Steps
from conf.errors import AccountError, UsageError
from tests.emr.deployed import ACCOUNT, CLUSTER, MORNING, OUTPUTS, Said, deployed, given, scripted

ID = "s-1ABCDEFGHIJKL"
JOB = jobs.stream(STREAM, given(), deployed("cluster"), {})
RUN = Run(ID, "verger stream", "RUNNING", True, True, applications=("application_1_0001",))
LISTED = {"ClusterId": CLUSTER}
CANCEL = {"ClusterId": CLUSTER, "StepIds": [ID], "StepCancellationOption": "SEND_INTERRUPT"}


def step(state: str, hours: int = 0, **more: Any) -> dict[str, Any]:
    """Give a step as EMR lists it, created so many hours after the morning."""
    times = {
        "CreationDateTime": MORNING + timedelta(hours=hours),
        "StartDateTime": MORNING + timedelta(hours=hours + 1),
    }
    if state not in ACTIVE:
        times["EndDateTime"] = MORNING + timedelta(hours=hours + 2)
    status = {"State": state, "Timeline": times}
    return {"Id": ID, "Name": "verger stream", "Status": status, **more}


def there(*steps: dict[str, Any]) -> Said:
    """Give what EMR lists."""
    return Said("list_steps", {"Steps": list(steps)}, LISTED)


def request(name: str, *command: str) -> dict[str, Any]:
    """Give the request for a step."""
    jar = {"Jar": "command-runner.jar", "Args": list(command)}
    made = {"Name": name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
    return {"JobFlowId": CLUSTER, "Steps": [made], "ExecutionRoleArn": OUTPUTS["StreamRole"]}


def test_a_stream_is_one_step_with_its_own_role() -> None:
    """Whose failure ends no cluster, as several run at once."""
    sent = request("verger stream", *jobs.submit_command(JOB))
    with scripted("emr", there(), Said("add_job_flow_steps", {"StepIds": [ID]}, sent)) as client:
        assert running.submit(Steps(deployed("cluster"), client), deployed("cluster"), JOB) == ID


@pytest.mark.parametrize("state", ACTIVE)
def test_a_second_stream_is_refused_and_the_first_named(state: str) -> None:
    """Whether it runs or is about to."""
    with scripted("emr", there(step("FAILED", 5), step(state))) as client, pytest.raises(UsageError) as caught:
        running.submit(Steps(deployed("cluster"), client), deployed("cluster"), JOB)
    assert f"is {state} already: {ID} since 2026-11-20 09:00 UTC" in str(caught.value)


def test_a_step_that_failed_says_why_and_since_when() -> None:
    """In EMR's words; the newest is told, on whatever page."""
    failed = step("FAILED", 9)
    failed["Status"]["FailureDetails"] = {"Reason": "Application failed", "Message": "exit code 1"}
    first = Said("list_steps", {"Steps": [step("COMPLETED", 3), step("RUNNING", Name="other")], "Marker": "m"}, LISTED)
    second = Said("list_steps", {"Steps": [failed]}, {**LISTED, "Marker": "m"})
    with scripted("emr", first, second) as client:
        found = Steps(deployed("cluster"), client).newest("verger stream")
    assert found is not None
    assert (found.state, found.detail) == ("FAILED", "Application failed: exit code 1")
    assert (found.since, found.running, found.active) == (MORNING + timedelta(hours=11), False, False)


def test_nothing_is_known_where_nothing_ran() -> None:
    """Of this name."""
    with scripted("emr", there(step("RUNNING", Name="other"))) as client:
        assert Steps(deployed("cluster"), client).newest("verger stream") is None


def test_a_look_tells_the_applications_of_yarn() -> None:
    """By which what runs apart from the step can be ended."""
    more = {"AdditionalInfo": {"ResourceManagerApplicationIds": ["application_1_0001"], "ResourceManager": "YARN"}}
    said = Said("describe_step", {"Step": {**step("RUNNING"), **more}}, {"ClusterId": CLUSTER, "StepId": ID})
    with scripted("emr", said) as client:
        found = Steps(deployed("cluster"), client).look(RUN)
    assert (found.applications, found.since) == (("application_1_0001",), MORNING + timedelta(hours=1))


class TestCancelling:
    """A step is ended, and the application that it has left running."""

    def cancel(self, *script: Said, run: Run = RUN) -> str:
        """Cancel a run."""
        with scripted("emr", *script) as client:
            return Steps(deployed("cluster"), client).cancel(run, 60)

    def test_the_step_is_interrupted_and_another_kills_its_application(self) -> None:
        """With the role of the leg, whose user it runs as."""
        done = Said("cancel_steps", {"CancelStepsInfoList": [{"StepId": ID, "Status": "SUBMITTED"}]}, CANCEL)
        kill = request("end verger stream", "yarn", "application", "-kill", "application_1_0001")
        said = self.cancel(done, Said("add_job_flow_steps", {"StepIds": ["s-2"]}, kill))
        assert said == f"{ID} is being cancelled, and s-2 ends its application"

    def test_one_that_had_ended_is_told_as_that(self) -> None:
        """Nothing is killed."""
        refused = {"CancelStepsInfoList": [{"StepId": ID, "Status": "FAILED", "Reason": "Step is in a terminal state"}]}
        said = self.cancel(Said("cancel_steps", refused, CANCEL), Said("describe_step", {"Step": step("COMPLETED")}))
        assert said == f"{ID} had ended already"

    def test_a_refusal_is_raised(self) -> None:
        """While it runs on."""
        refused = {"CancelStepsInfoList": [{"StepId": ID, "Status": "FAILED", "Reason": "Unable to cancel step"}]}
        with pytest.raises(AccountError, match="CancelSteps was refused: Unable to cancel step"):
            self.cancel(Said("cancel_steps", refused, CANCEL), Said("describe_step", {"Step": step("RUNNING")}))

    def test_an_application_that_nobody_named_is_found_by_its_name(self, tmp_path: Path) -> None:
        """The shell's line is run here, with a `yarn` that lists three and writes down which one is to end."""
        command: list[str] = []

        def kept(params: dict[str, Any], **_: Any) -> None:
            command[:] = params["Steps"][0]["HadoopJarStep"]["Args"]

        done = Said("cancel_steps", {"CancelStepsInfoList": []}, CANCEL)
        adding = "before-parameter-build.emr.AddJobFlowSteps"
        with scripted("emr", done, Said("add_job_flow_steps", {"StepIds": ["s-2"]})) as client:
            client.meta.events.register(adding, kept)
            Steps(deployed("cluster"), client).cancel(Run(ID, "verger stream", "RUNNING", True, True), 60)
            client.meta.events.unregister(adding, kept)
        listing = "\n".join(
            f"application_1_000{number}\t{name:>20}\t SPARK\t hadoop"
            for number, name in enumerate(["verger refit", "verger stream", "my verger stream"])
        )
        yarn = tmp_path / "yarn"
        yarn.write_text(
            f'#!/bin/sh\nif [ "$2" = -list ]; then printf "%s\\n" "Total number: 3" "{listing}"\n'
            f'else echo "$@" >> {tmp_path}/killed; fi\n'
        )
        yarn.chmod(0o755)
        subprocess.run(command, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True)
        assert (tmp_path / "killed").read_text() == "application -kill application_1_0001\n"


class TestPages:
    """Spark's history of the cluster."""

    ARN = f"arn:aws:elasticmapreduce:eu-west-3:{ACCOUNT}:cluster/{CLUSTER}"
    MADE = (
        Said("describe_cluster", {"Cluster": {"Id": CLUSTER, "ClusterArn": ARN}}, {"ClusterId": CLUSTER}),
        Said(
            "create_persistent_app_ui",
            {"PersistentAppUIId": "p-1", "RuntimeRoleEnabledCluster": True},
            {"TargetResourceArn": ARN, "ProfilerType": "SHS"},
        ),
    )
    ASKED: ClassVar = {
        "PersistentAppUIId": "p-1",
        "PersistentAppUIType": "SHS",
        "ExecutionRoleArn": OUTPUTS["StreamRole"],
    }

    def page(self, answer: dict[str, Any]) -> tuple[str, str]:
        """Ask for them."""
        with scripted("emr", *self.MADE, Said("get_persistent_app_ui_presigned_url", answer, self.ASKED)) as client:
            return running.pages_of(Steps(deployed("cluster"), client), RUN)

    def test_they_have_a_url(self) -> None:
        """Of the pages that outlive the cluster."""
        assert self.page({"PresignedURLReady": True, "PresignedURL": "https://p-1"}) == ("https://p-1", "")

    def test_where_they_are_not_ready_that_is_told(self) -> None:
        """They take a while at first."""
        assert self.page({"PresignedURLReady": False}) == (
            "",
            "Spark's history of the cluster is being prepared: ask again in a few minutes",
        )
