"""What neither cfn-lint nor a service's model checks, held on our templates and on copies that break it."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from bootstrap.commands.legs import REFIT, STREAM
from bootstrap.emr import jobs
from bootstrap.emr.serverless import Serverless
from bootstrap.emr.template import NAMES
from tests.emr import schedule_rules, security_rules, stack_rules
from tests.emr.deployed import deployed, given
from tests.emr.schedule_rules import as_request, scheduled
from tests.emr.stack_rules import exports, imports
from tests.emr.stacks import ROLE, Template, broken, template

Rule = Callable[[Template], Iterator[str]]
_GOES = "    UpdateReplacePolicy: Delete\n    Properties:\n      BucketName"
_TOLD = "StringEquals: {aws:SourceAccount: !Ref AWS::AccountId}\n              ArnEquals"
# Of each rule, what it must notice: the template that is broken, what is replaced in it and by what, and a word of what
# the rule then says.
BROKEN: dict[Rule, list[tuple[str, str, str, str]]] = {
    schedule_rules.inputs_are_what_the_service_reads: [
        ("serverless", '"BATCH",', '"BATCH"', "no JSON"),
        ("serverless", '"ApplicationId"', '"applicationId"', "PascalCase"),
        ("serverless", '"EntryPoint"', '"EntryPiont"', "entryPiont"),
        ("serverless", '"Mode": "BATCH"', '"Mode": "STREAM"', "none of BATCH"),
        ("serverless", "<aws.scheduler.execution-id>", "<aws.scheduler.scheduled-time>", "does not match"),
        ("serverless", "emrserverless:startJobRun", "emr-serverless:startJobRun", "none of"),
        ("cluster", '"JobFlowId"', '"ClusterId"', "ClusterId"),
        ("cluster", '"CONTINUE"', '"GO_ON"', "none of"),
    ],
    schedule_rules.jobs_have_a_token: [
        ("serverless", "<aws.scheduler.execution-id>", "always-the-same", "ClientToken"),
    ],
    schedule_rules.retries_are_bounded: [
        ("serverless", "MaximumRetryAttempts: 5", "MaximumRetryAttempts: 100", "attempts"),
        ("serverless", "RetryPolicy: {", "FlexiblePolicy: {", "bound"),
        ("serverless", "DeadLetterConfig", "Letters", "not kept"),
        ("serverless", '"MaxAttempts": 2', '"MaxAttempts": 99', "MaxAttempts"),
    ],
    schedule_rules.expressions_are_schedules: [
        ("serverless", "cron(0 3 * * ? *)", "cron(0 3 * * *)", "no schedule"),
        ("cluster", "cron(0 3 * * ? *)", "cron(0 3 * * * *)", "one has to be ?"),
    ],
    schedule_rules.steps_that_fail_let_others_run: [
        ("cluster", '"CONTINUE"', '"CANCEL_AND_WAIT"', "CANCEL_AND_WAIT"),
    ],
    security_rules.buckets_are_closed: [
        ("base", "SSEAlgorithm: aws:kms", "SSEAlgorithm: AES256", "by a key"),
        ("base", "BucketKeyEnabled: true", "BucketKeyEnabled: false", "each object"),
        ("base", "IgnorePublicAcls: true", "IgnorePublicAcls: false", "public"),
        ("base", "BucketOwnerEnforced", "ObjectWriter", "others"),
        ("base", "Bucket: !Ref OwnLanding\n", "Bucket: !Ref OwnLake\n", "TLS"),
        ("base", 'aws:SecureTransport: "false"', 'aws:SecureTransport: "true"', "TLS"),
        ("base", "    UpdateReplacePolicy: Retain\n    Properties:\n      BucketName", _GOES, "stack"),
    ],
    security_rules.queues_are_closed: [
        ("base", "SqsManagedSseEnabled: true", "SqsManagedSseEnabled: false", "encrypted"),
        ("serverless", "Queues: [!Ref ScheduleDeadLetters]", "Queues: []", "TLS"),
    ],
    security_rules.services_that_write_name_their_source: [
        ("base", _TOLD, "ArnEquals", "s3.amazonaws.com"),
    ],
    security_rules.nobody_may_come_in: [
        ("base", "SourceSecurityGroupId: !Ref OwnSecurityGroup", "CidrIp: 0.0.0.0/0", "lets addresses in"),
        ("cluster", "SourceSecurityGroupId: !Ref WorkspacesGroup", "CidrIp: 10.0.0.0/8", "lets addresses in"),
        ("base", "SecurityGroupEgress", "Egress", "lets everything out"),
    ],
    security_rules.there_is_no_way_to_the_internet: [
        ("base", "Type: AWS::EC2::RouteTable", "Type: AWS::EC2::InternetGateway", "way to the internet"),
        ("cluster", "KeepJobFlowAliveWhenNoSteps: true", "Ec2KeyName: mine", "Ec2KeyName"),
    ],
    security_rules.wildcards_have_a_reason: [
        ("cluster", " # EC2 knows no narrower right to describe.", "", "without a reason"),
        ("base", " # In a key's policy that is this key.", "", "without a reason"),
        ("base", "                # By the tag that is given.\n", "", "without a reason"),
    ],
    security_rules.security_configurations_say_what_they_mean: [
        ("cluster", "EnableEbsEncryption", "EnableEBSEncryption", "EnableEBSEncryption is unknown"),
        ("cluster", "MinimumInstanceMetadataServiceVersion: 2", "MinimumInstanceMetadataServiceVersion: 1", "is 1"),
        ("cluster", "EnableApplicationScopedIAMRole: true", "EnableApplicationScopedIAMRole: false", "False"),
    ],
    stack_rules.releases_are_of_8: [
        ("serverless", "Default: emr-spark-8.1.0", "Default: emr-8.1.0", "no release"),
        ("cluster", "^emr-spark-8\\.[0-9]+\\.[0-9]+$", "^emr-.*$", "any release"),
    ],
    stack_rules.templates_are_plain: [
        ("base", "Action: s3:*", "Action: &all s3:*\n            NotAction: *all", "aliases"),
        ("base", "Rules:\n", f"# {'-' * 51_200}\nRules:\n", "bytes"),
    ],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", BROKEN, ids=lambda each: each.__name__)
def test_the_templates_keep_the_rules(rule: Rule, name: str) -> None:
    """Nothing is found in what is deployed."""
    assert list(rule(template(name))) == []


@pytest.mark.parametrize(
    ("rule", "name", "old", "new", "word"),
    [
        pytest.param(rule, *each, id=f"{rule.__name__}-{each[-1]}")
        for rule, several in BROKEN.items()
        for each in several
    ],
)
def test_a_broken_template_is_noticed(rule: Rule, name: str, old: str, new: str, word: str) -> None:
    """Each rule sees what it is for."""
    found = list(rule(broken(name, old, new)))
    assert any(word in each for each in found), found


def test_what_is_imported_is_exported() -> None:
    """Each value that a later stack takes from the base is one that it gives."""
    taken = imports(map(template, NAMES[1:]))
    assert taken
    assert taken <= exports(template("base"))
    assert imports([broken("cluster", "${Base}-Vpc", "${Base}-VPC")]) - exports(template("base")) == {"VPC"}


def test_the_base_gives_what_others_count_on() -> None:
    """Commands, documents and people know these names."""
    assert exports(template("base")) >= {
        "Landing", "Lake", "Packages", "Logs", "Queue", "QueueName", "DeadLetters", "Key", "Subnets", "SecurityGroup",
        "StreamRole", "RefitRole", "ReaderRole", "SubmitterRole", "SchedulerRole", "Database",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "runs"), [("serverless", "Application"), ("cluster", "Cluster")])
def test_a_stack_tells_the_commands_all_they_need(name: str, runs: str) -> None:
    """They read the outputs of this one stack."""
    assert set(template(name).body["Outputs"]) >= {
        runs, "Architecture", "Package", "Landing", "Lake", "Queue", "StreamRole", "RefitRole", "Logs", "Key",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["Refit", "Drain"])
def test_a_schedule_of_serverless_starts_what_a_person_would_submit(name: str) -> None:
    """The same request, but for its token, and for where logs go, which the application says."""
    there = deployed()
    job = jobs.refit(REFIT, given(), there, {}) if name == "Refit" else jobs.stream(STREAM, given(once=True), there, {})
    submitted = Serverless(replace(there, refit_role=ROLE, stream_role=ROLE), None).request(replace(job, role=ROLE))
    del submitted["clientToken"], submitted["configurationOverrides"]
    said = as_request(scheduled(template("serverless"), name))
    del said["clientToken"]
    assert said == submitted


def test_the_schedule_of_a_cluster_adds_the_step_that_a_person_would() -> None:
    """The same words for spark-submit, under the same name."""
    (step,) = scheduled(template("cluster"), "Refit")["Steps"]
    job = jobs.refit(REFIT, given(), deployed("cluster"), {})
    assert step["Name"] == job.name
    assert step["HadoopJarStep"]["Args"] == jobs.submit_command(job)
