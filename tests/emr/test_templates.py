"""The templates as CloudFormation would take them, and the command that prints them."""

import re
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from typer.testing import CliRunner

from bootstrap import cli
from bootstrap.emr.template import NAMES, parameters_of, printed
from conf.errors import UsageError
from conf.schemas import TABLES
from tests.emr.stacks import read, template
from tests.storage.cloud import Cloud

REGIONS = ["eu-west-3", "us-east-1"]
ROOT = Path(__file__).parents[2]
# What there is already, in each of the three; and a value for each parameter that takes one of a few.
CHANGED = {
    "base": {
        "NamePrefix": "orchard",
        "LandingBucket": "photos",
        "LandingPrefix": "incoming/2026",
        "LakeBucket": "features",
        "LakePrefix": "orchard",
        "Queue": "arn:aws:sqs:eu-west-3:123456789012:photos",
        "DeadLetterQueue": "photos-dead",
        "Key": "arn:aws:kms:eu-west-3:123456789012:key/0123abcd-0123-abcd-0123-0123456789ab",
        "Vpc": "vpc-0123456789abcdef0",
        "Subnets": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
        "SecurityGroup": "sg-0123456789abcdef0",
        "OnCluster": "yes",
    },
    "serverless": {
        "Package": "s3://features/packages/verger-0.1.0-arm64-0123456789ab",
        "Architecture": "arm64",
        "RefitSchedule": "rate(12 hours)",
        "Email": "ops@example.org",
        "Budget": "99",
    },
    "cluster": {"Architecture": "arm64", "NodeType": "m6g.4xlarge", "CoreNodes": "3", "Protected": "no"},
}


@pytest.mark.parametrize("changed", [False, True], ids=["as it is", "changed"])
@pytest.mark.parametrize("name", NAMES)
def test_cfn_lint_finds_nothing(name: str, changed: bool) -> None:
    """Neither in the file nor with other defaults."""
    text = printed(name, CHANGED[name] if changed else {})
    assert lint(text, config=ManualArgs(regions=REGIONS)) == []


@pytest.mark.parametrize("name", NAMES)
def test_without_parameters_the_file_is_printed(name: str) -> None:
    """Byte for byte, with the comments that say why."""
    assert printed(name, {}).encode() == (ROOT / "bootstrap" / "templates" / f"{name}.yaml").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_changes_its_default_and_nothing_else(name: str) -> None:
    """One line for each, and what it then says is the value."""
    before, after = printed(name, {}).splitlines(), printed(name, CHANGED[name]).splitlines()
    differing = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(differing) == len(CHANGED[name])
    assert all(re.fullmatch(r"    Default: .+", each) for each in differing)
    said = {each.name: each.declared["Default"] for each in parameters_of(printed(name, CHANGED[name]))}
    assert {given: said[given] for given in CHANGED[name]} == CHANGED[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_default_is_a_value_that_its_parameter_takes(name: str) -> None:
    """So a template is deployed as it is."""
    defaults = {each.name: each.declared["Default"] for each in parameters_of(printed(name, {}))}
    assert template(name).body["Parameters"] == _parsed(printed(name, defaults))


def test_a_text_stays_one() -> None:
    """Where it looks like a truth value, a number or YAML of another kind."""
    said = _parsed(printed("base", {"NamePrefix": "yes", "LakePrefix": "1.0"}))
    assert (said["NamePrefix"]["Default"], said["LakePrefix"]["Default"]) == ("yes", "1.0")


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("bsae", {}, ["no template 'bsae'", "did you mean base?"]),
        ("terraform-module", {}, ["base, serverless, cluster"]),
        ("base", {"nameprefix": "v"}, ["'nameprefix'", "did you mean NamePrefix?"]),
        ("base", {"NamePrefix": "Verger"}, ["NamePrefix", "'Verger'", "does not match"]),
        ("base", {"NamePrefix": "a" * 21}, ["NamePrefix", "does not match"]),
        ("base", {"Subnets": "subnet-0123456789abcdef0"}, ["Subnets", "two or more"]),
        ("base", {"OnCluster": "true"}, ["OnCluster", "none of no, yes"]),
        ("serverless", {"ReleaseLabel": "emr-7.12.0"}, ["ReleaseLabel"]),
        ("serverless", {"RefitSchedule": "cron(0 3 * * *)"}, ["RefitSchedule"]),
        ("serverless", {"Package": "s3://features/packages/x/"}, ["Package"]),
        ("serverless", {"BacklogSeconds": "much"}, ["BacklogSeconds", "is not a number"]),
        ("serverless", {"Budget": "0.0"}, ["Budget", "does not match"]),
        ("base", {"LakePrefix": "logs/lake"}, ["LakePrefix", "does not match"]),
        ("serverless", {"MaximumVcpu": "2"}, ["MaximumVcpu", "is below 4"]),
        ("cluster", {"CoreNodes": "21"}, ["CoreNodes", "is over 20"]),
    ],
)
def test_what_a_template_does_not_take_is_refused(name: str, parameters: dict[str, str], words: list[str]) -> None:
    """In one line, which names it."""
    with pytest.raises(UsageError) as refused:
        printed(name, parameters)
    message = str(refused.value)
    assert "\n" not in message
    assert all(each in message for each in words), message


def test_the_command_prints(tmp_path: Path) -> None:
    """To standard output, or into a file; an option without a value is a usage error."""
    run = CliRunner()
    shown = run.invoke(cli.built(), ["emr", "template", "base", "--parameter", "NamePrefix=orchard"])
    assert shown.stdout == printed("base", {"NamePrefix": "orchard"})
    out = tmp_path / "base.yaml"
    written = run.invoke(cli.built(), ["emr", "template", "base", "--parameter=NamePrefix=orchard", "--out", str(out)])
    assert written.stdout == ""
    assert out.read_text("utf-8") == shown.stdout
    wrong = run.invoke(cli.built(), ["emr", "template", "base", "--parameter", "NamePrefix"])
    assert isinstance(wrong.exception, UsageError)


def test_athena_is_told_of_every_table() -> None:
    """By its name, at its place in the lake."""
    base = template("base")
    registered = {each["TableInput"]["Name"]: each["TableInput"] for _, each in base.of_type("AWS::Glue::Table")}
    assert set(registered) == {each.name for each in TABLES}
    for name, table in registered.items():
        place = table["StorageDescriptor"]["Location"]["Fn::Sub"][0]
        assert place == table["StorageDescriptor"]["SerdeInfo"]["Parameters"]["path"]["Fn::Sub"][0]
        assert place == f"s3://${{In}}/${{LakePrefix}}/{name}/"


def test_the_base_is_deployed(cloud: Cloud) -> None:
    """As far as moto has its types: no policy of a bucket or queue, no table, no schedules."""
    found = _deployed(cloud, "new-base", {"NamePrefix": "new"})
    assert found["Landing"] == "s3://new-landing-123456789012-us-east-1"
    assert found["Lake"] == "s3://new-lake-123456789012-us-east-1/lake"
    assert found["Subnets"].count("subnet-") == 2
    queue = cloud.client("sqs").get_queue_attributes(QueueUrl=_at(cloud, found["Queue"]), AttributeNames=["All"])
    assert queue["Attributes"]["VisibilityTimeout"] == "300"
    assert '"maxReceiveCount": 10' in queue["Attributes"]["RedrivePolicy"]
    endpoints = cloud.client("ec2").describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [found["Vpc"]]}])
    services = {each["ServiceName"].rpartition(".")[2] for each in endpoints["VpcEndpoints"]}
    assert services == {"s3", "sqs"}


def test_what_there_is_already_is_used_as_it_is(cloud: Cloud) -> None:
    """Nothing of the kind is created, and the names given come out."""
    given = CHANGED["base"]
    found = _deployed(cloud, "given-base", given)
    assert found["Landing"] == "s3://photos/incoming/2026"
    assert found["Lake"] == "s3://features/orchard"
    assert found["Queue"] == "https://sqs.eu-west-3.amazonaws.com/123456789012/photos"
    assert (found["QueueName"], found["DeadLetters"]) == ("photos", "photos-dead")
    assert [found[each] for each in ("Key", "Vpc", "Subnets", "SecurityGroup")] == [
        given[each] for each in ("Key", "Vpc", "Subnets", "SecurityGroup")
    ]
    buckets = [each["Name"] for each in cloud.client("s3").list_buckets()["Buckets"]]
    queues = cloud.client("sqs").list_queues(QueueNamePrefix=given["NamePrefix"]).get("QueueUrls", [])
    assert [each for each in buckets if each.startswith(given["NamePrefix"])] + queues == []


def _deployed(cloud: Cloud, stack: str, parameters: dict[str, str]) -> dict[str, str]:
    deploy = cloud.client("cloudformation")
    deploy.create_stack(
        StackName=stack, TemplateBody=printed("base", parameters), Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    (found,) = deploy.describe_stacks(StackName=stack)["Stacks"]
    assert found["StackStatus"] == "CREATE_COMPLETE"
    return {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}


def _at(cloud: Cloud, queue: str) -> str:
    """Return the URL of a queue as moto's server is reached."""
    return f"{cloud.endpoint}/{queue.split('/', 3)[3]}"


def _parsed(text: str) -> Any:
    return read("base", text).body["Parameters"]
