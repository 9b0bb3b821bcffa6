"""`verger emr submit`, `stop` and `status` against moto's CloudFormation, EMR Serverless and EMR."""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from bootstrap import cli
from bootstrap.emr import account
from conf.errors import UsageError, VergerError
from conf.lake import create_lake
from tests.cli.test_command_line import VERGER, one_line
from tests.emr.deployed import OUTPUTS, checked
from tests.storage.cloud import REGION, Cloud

Verger = Callable[..., Any]
# moto knows no label of the Spark release train.
LABEL = "emr-7.9.0"
REMOTE = {"Landing": "s3://pictures/in", "Lake": "s3://orchard/lake"}


@pytest.fixture
def verger(aws: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verger:
    """Return a function that runs `verger emr` in an empty folder; each request is held against the service's model."""
    monkeypatch.chdir(tmp_path)

    def client(service: str, region: str, made: Callable[[str, str], Any] = account.client) -> Any:
        found = made(service, region)
        found.meta.events.register("before-parameter-build", checked)
        return found

    monkeypatch.setattr(account, "client", client)
    return lambda *arguments: CliRunner().invoke(cli.built(), ["emr", *arguments])


@pytest.fixture
def application(aws: Cloud) -> str:
    """Create an application on which something has run: moto does not list the jobs of one on which nothing has."""
    serverless = aws.client("emr-serverless")
    made = str(serverless.create_application(type="SPARK", releaseLabel=LABEL, name="a")["applicationId"])
    serverless.start_job_run(applicationId=made, executionRoleArn=OUTPUTS["StreamRole"], name="something else")
    return made


@pytest.fixture
def cluster(aws: Cloud) -> str:
    """Create a cluster that waits for steps."""
    instances = {"InstanceCount": 1, "MasterInstanceType": "m5.xlarge", "KeepJobFlowAliveWhenNoSteps": True}
    run = partial(aws.client("emr").run_job_flow, Name="c", ReleaseLabel=LABEL, ServiceRole="s", JobFlowRole="i")
    return str(run(Instances=instances)["JobFlowId"])


def stack(cloud: Cloud, **outputs: str) -> str:
    """Create a stack with these outputs and return its name."""
    name = f"verger-{uuid4().hex[:8]}"
    told = {key: {"Value": value} for key, value in {**OUTPUTS, **REMOTE, **outputs}.items() if value}
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Outputs": told}
    cloud.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))
    return name


def refused(done: Any) -> str:
    """Give the one line with which a command ended."""
    assert isinstance(done.exception, VergerError), done
    assert done.stdout == ""
    assert "\n" not in str(done.exception)
    return str(done.exception)


def test_a_stream_is_submitted_and_found_again(verger: Verger, aws: Cloud, application: str) -> None:
    """With what the stack and the command line say; moto's jobs succeed at once, so that none runs then."""
    name = stack(aws, Application=application)
    options = ("--executors", "3", "--executor-memory", "6g", "--retries", "7", "--pooling", "max", "--stack", name)
    done = verger("submit", "stream", *options)
    assert done.exception is None, done
    run = done.stdout.split()[5]
    assert done.stdout == (
        f"verger stream is submitted as {run} to the serverless {application}: `verger emr status` says how it is\n"
    )
    found = aws.client("emr-serverless").get_job_run(applicationId=application, jobRunId=run)["jobRun"]
    submitted = found["jobDriver"]["sparkSubmit"]
    assert submitted["entryPoint"] == f"{OUTPUTS['Package']}/entry.py"
    assert submitted["entryPointArguments"] == [
        "stream", "--landing", REMOTE["Landing"], "--lake", REMOTE["Lake"],
        "--discover", "notifications", "--queue", OUTPUTS["Queue"], "--pooling", "max",
        "--s3-region", REGION,
    ]  # fmt: skip
    assert "spark.executor.memory=6g" in submitted["sparkSubmitParameters"]
    assert "spark.executor.instances=3" in submitted["sparkSubmitParameters"]
    assert (found["executionRole"], found["name"]) == (OUTPUTS["StreamRole"], "verger stream")
    stopped = verger("stop", "--stack", name)
    assert stopped.stdout.startswith(f"no stream of the stack {name} runs; the last one, {run}, is SUCCESS since ")


def test_a_refit_is_submitted(verger: Verger, aws: Cloud, application: str) -> None:
    """By the settings of verger.toml as by flags, with its own role and time limit."""
    Path("verger.toml").write_text(f'stack = "{stack(aws, Application=application)}"\nvariance = 0.8\ncores = 2\n')
    done = verger("submit", "refit", "--full", "--timeout", "30")
    assert done.exception is None, done
    of = {"applicationId": application, "jobRunId": done.stdout.split()[5]}
    found = aws.client("emr-serverless").get_job_run(**of)["jobRun"]
    told = ["refit", "--lake", REMOTE["Lake"], "--variance", "0.8", "--full", "--s3-region", REGION]
    assert found["jobDriver"]["sparkSubmit"]["entryPointArguments"] == told
    assert (found["executionRole"], found["executionTimeoutMinutes"]) == (OUTPUTS["RefitRole"], 30)


def test_a_dry_run_prints_the_request_and_sends_nothing(verger: Verger, aws: Cloud, application: str) -> None:
    """As AWS' own command line takes it."""
    name = stack(aws, Application=application)
    serverless = aws.client("emr-serverless")
    before = len(serverless.list_job_runs(applicationId=application)["jobRuns"])
    request = json.loads(verger("submit", "stream", "--dry-run", "--stack", name).stdout)
    assert (request["mode"], request["applicationId"]) == ("STREAMING", application)
    assert request["retryPolicy"] == {"maxFailedAttemptsPerHour": 5}
    assert len(serverless.list_job_runs(applicationId=application)["jobRuns"]) == before


def test_a_stream_on_a_cluster_is_a_step_and_there_is_one(verger: Verger, aws: Cloud, cluster: str) -> None:
    """A second one is refused for as long as the first is there."""
    name = stack(aws, Cluster=cluster)
    done = verger("submit", "stream", "--stack", name)
    assert done.exception is None, done
    (step,) = aws.client("emr").list_steps(ClusterId=cluster)["Steps"]
    assert done.stdout.split()[5] == step["Id"]
    assert (step["Name"], step["ActionOnFailure"], step["Config"]["Jar"]) == (
        "verger stream", "CONTINUE", "command-runner.jar",
    )  # fmt: skip
    assert step["Config"]["Args"][:3] == ["spark-submit", "--deploy-mode", "cluster"]
    again = refused(verger("submit", "stream", "--stack", name))
    assert again.startswith(f"a stream of the stack {name} is {step['Status']['State']} already: {step['Id']}")
    assert len(aws.client("emr").list_steps(ClusterId=cluster)["Steps"]) == 1


def test_a_status_shows_the_lake_beside_the_jobs(verger: Verger, aws: Cloud, application: str) -> None:
    """And ends with 3, as nothing runs."""
    lake = create_lake(f"s3://{aws.bucket()}/lake")
    name = stack(aws, Application=application, Lake=str(lake.root))
    done = verger("status", "--json", "--stack", name)
    found = json.loads(done.stdout)
    assert (done.exit_code, found["well"], found["stack"]) == (3, False, name)
    assert (found["lake"]["lake"], found["lake"]["arrivals"]) == (str(lake.root), 0)
    assert found["unwell"][0] == "no stream was ever submitted"
    verger("submit", "stream", "--stack", name)
    shown = verger("status", "--stack", name)
    assert shown.exit_code == 3
    assert "unwell: the stream does not run: " in shown.stderr
    assert "0.0 vCPU-hours" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "outputs", "said"),
    [
        (("submit", "stream"), {"Package": ""}, "names no package: make one (`verger emr package --arch x86_64"),
        (("submit", "stream"), {"Logs": ""}, "lacks the output Logs: deploy `verger emr template serverless`"),
        (("submit", "stream", "--executor-cores", "5"), {}, "executor: EMR Serverless has no worker of 5 cores"),
        (("submit", "stream", "--retries", "11"), {}, "--retries 11: it must be 1 to 10"),
        (("submit", "refit", "--timeout", "1"), {}, "--timeout 1: it must be 5 to 10080"),
        (("submit", "stream", "--lake", "lake"), {}, "--lake lake: the machines of a job do not see it"),
        (("submit", "stream", "--landing", "s3://other"), {}, "whose queue tells of its own pictures only"),
        (("stop", "--grace", "5"), {}, "--grace 5: it must be 15 to 1800 seconds"),
        (("status",), {"Application": ""}, "has neither output Application nor Cluster"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    verger: Verger, aws: Cloud, arguments: tuple[str, ...], outputs: dict[str, str], said: str
) -> None:
    """And nothing is submitted: the application is none that moto knows."""
    name = stack(aws, **{"Application": "00fnobody", **outputs})
    assert said in refused(verger(*arguments, "--stack", name))


def test_a_stack_that_is_not_there_is_said(verger: Verger) -> None:
    """With its region."""
    done = verger("status", "--stack", "orchard")
    assert refused(done).startswith(f"there is no stack named orchard in {REGION}: deploy one")
    elsewhere = verger("stop", "--stack", "orchard", "--region", "eu-north-1")
    assert "orchard in eu-north-1:" in refused(elsewhere)


def test_an_application_that_is_gone_is_said(verger: Verger, aws: Cloud) -> None:
    """In AWS' words."""
    done = verger("submit", "refit", "--stack", stack(aws, Application="00fgone"))
    assert "emr-serverless:StartJobRun was refused: ResourceNotFoundException" in refused(done)


def test_without_credentials_it_is_said(verger: Verger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose could be used."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    done = verger("submit", "stream")
    assert isinstance(done.exception, UsageError)
    assert "cloudformation:DescribeStacks: Unable to locate credentials" in refused(done)


def test_as_a_process_it_ends_with_one_line_and_its_code(aws: Cloud, tmp_path: Path) -> None:
    """1 where AWS refuses, 2 where what was asked for is wrong."""
    name = stack(aws, Application="00fnobody")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*VERGER, "emr", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)

    gone, wrong = run("stop", "--stack", "orchard"), run("submit", "stream", "--stack", name, "--retries", "11")
    assert (gone.returncode, wrong.returncode) == (1, 2)
    assert "no stack named orchard" in one_line(gone.stderr)
    assert "--retries 11" in one_line(wrong.stderr)
