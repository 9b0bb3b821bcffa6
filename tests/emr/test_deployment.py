"""What a stack's outputs say."""

from typing import Any

import pytest

from bootstrap.emr import deployment
from conf.errors import AccountError, UsageError
from conf.settings import Settings
from tests.emr.deployed import APPLICATION, CLUSTER, MORNING, OUTPUTS, Said, deployed, scripted

ALL = {"Application": APPLICATION, **OUTPUTS}


def stack(outputs: dict[str, str], state: str = "CREATE_COMPLETE", name: str = "verger") -> Said:
    """Give what CloudFormation says of a stack."""
    told = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    found: dict[str, Any] = {"StackName": name, "CreationTime": MORNING, "StackStatus": state, "Outputs": told}
    return Said("describe_stacks", {"Stacks": [found]}, {"StackName": name})


def read(outputs: dict[str, str], settings: Settings | None = None, package: str = "") -> deployment.Deployment:
    """Read a stack of these outputs."""
    with scripted("cloudformation", stack(outputs)) as client:
        return deployment.read(settings or Settings(region="eu-west-3"), package, client)


def test_an_application_makes_it_serverless_and_a_cluster_a_cluster() -> None:
    """By which output is there; the rest is the same."""
    assert read(ALL) == deployed()
    assert read({"Cluster": CLUSTER, **OUTPUTS}) == deployed("cluster")


def test_a_stack_may_have_the_landing_drained_by_a_schedule() -> None:
    """Then no stream is to run all day."""
    assert read({**ALL, "DrainSchedule": "rate(1 day)"}) == deployed(drained=True)


def test_what_the_user_says_goes_before_the_stack() -> None:
    """Landing, lake, queue and package; whose notifications the stack's queue gets stays known."""
    settings = Settings(region="eu-west-3", landing="s3://mine", lake="s3://mine/lake", queue="https://queue/mine")
    found = read(ALL, settings, package="s3://mine/packages/verger-1/")
    assert (found.landing, found.lake, found.queue) == ("s3://mine", "s3://mine/lake", "https://queue/mine")
    assert (found.package, found.stack_landing) == ("s3://mine/packages/verger-1", "s3://landing")


@pytest.mark.parametrize("package", ["", None])
def test_a_stack_may_name_no_package(package: str | None) -> None:
    """As the first deployment of one does; only what is submitted needs it."""
    outputs = {name: value for name, value in ALL.items() if name != "Package"}
    assert read(outputs if package is None else {**outputs, "Package": " "}).package == ""


@pytest.mark.parametrize(
    ("missing", "said"), [(("Queue",), "lacks the output Queue:"), (("Lake", "Logs"), "lacks the outputs Lake, Logs:")]
)
def test_each_missing_output_is_named(missing: tuple[str, ...], said: str) -> None:
    """In one line, with the template that has them."""
    outputs = {name: value for name, value in ALL.items() if name not in missing}
    with pytest.raises(
        AccountError, match=rf"the stack verger \(CREATE_COMPLETE\) {said} .*template serverless"
    ) as told:
        read(outputs)
    assert "\n" not in str(told.value)


def refused(said: Said, name: str = "verger") -> str:
    """Give what is told where CloudFormation answers so."""
    settings = Settings(stack=name, region="eu-west-3")
    with scripted("cloudformation", said) as client, pytest.raises(AccountError) as caught:
        deployment.read(settings, client=client)
    return str(caught.value)


def test_a_stack_without_outputs_is_none_of_ours() -> None:
    """Nor one that is half made; its state is told."""
    told = refused(stack({}, "ROLLBACK_COMPLETE"))
    assert "verger (ROLLBACK_COMPLETE) has neither output Application nor Cluster" in told


def test_a_stack_that_is_not_there_is_told_with_its_region() -> None:
    """CloudFormation calls it invalid."""
    message = "Stack with id orchard does not exist"
    told = refused(Said("describe_stacks", refused="ValidationError", message=message), "orchard")
    assert told.startswith(
        "there is no stack named orchard in eu-west-3: deploy one (`verger emr template serverless`)"
    )


def test_another_refusal_stays_what_it_is() -> None:
    """Such as a denial."""
    message = "anna is not authorized to perform: cloudformation:DescribeStacks on resource: verger"
    told = refused(Said("describe_stacks", refused="AccessDenied", message=message))
    assert "may not cloudformation:DescribeStacks;" in told


@pytest.mark.parametrize(
    ("settings", "package", "said"),
    [
        ({"lake": "/home/anna/lake"}, "", r"--lake /home/anna/lake: the machines of a job do not see it"),
        ({"lake": "gs://bucket/lake"}, "", r"--lake gs://bucket/lake: the machines of a job do not see it"),
        ({"lake": "s3://"}, "", r"s3:// names no bucket"),
        ({"queue": "banana"}, "", r"--queue banana: no URL of a queue"),
        ({}, "s3://", r"--package s3:// is no place on S3"),
        ({}, "/tmp/verger-0.1.0-x86_64-0", r"--package /tmp/.* is no place on S3"),
        (
            {},
            "s3://b/packages/verger-0.1.0-arm64-0123456789ab",
            r"is made for arm64, and the stack's machines are x86_64",
        ),
    ],
)
def test_what_its_machines_cannot_use_is_refused(settings: dict[str, str], package: str, said: str) -> None:
    """Before anything is submitted."""
    with pytest.raises(UsageError, match=said):
        read(ALL, Settings(region="eu-west-3", **settings), package)  # type: ignore[arg-type]
