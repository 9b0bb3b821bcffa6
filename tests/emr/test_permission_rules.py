"""What roles may do where moto cannot be asked: evaluated on their policies as the template `base` gives them."""

import json

import pytest

from tests.emr.account import ACCOUNT, REGION, Account
from tests.emr.day import LEGS, ROLES, arn_of
from tests.emr.policies import Demand, Document, allowed, principals, statements, values

ROLE = f"arn:aws:iam::{ACCOUNT}:role/verger"
SERVERLESS = f"arn:aws:emr-serverless:{REGION}:{ACCOUNT}:/applications"
CLUSTER = f"arn:aws:elasticmapreduce:{REGION}:{ACCOUNT}:cluster/j-1"
PAGES = f"arn:aws:elasticmapreduce:{REGION}:{ACCOUNT}:persistent-app-ui/p-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/one"
OURS, OTHERS = {"aws:ResourceTag/verger:stack": "verger-eu"}, {"aws:ResourceTag/verger:stack": "orchard"}
RUN, STACK = f"{SERVERLESS}/one/jobruns/1", f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack"
PASSED = {"iam:PassedToService": "emr-serverless.amazonaws.com"}
TAGGED = {"aws:RequestTag/verger:stack": "verger-eu"}
SERVERLESS_JOB = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": f"{SERVERLESS}/one"}
NODE = {"aws:PrincipalArn": f"{ROLE}-instance"}
SCHEDULES = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group"
BY_S3 = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}
BY_EC2 = {"kms:ViaService": f"ec2.{REGION}.amazonaws.com"}


def step_of(role: str) -> dict[str, str]:
    """Return the context of a step on a cluster of ours, in a role."""
    return OURS | {"elasticmapreduce:ExecutionRoleArn": f"{ROLE}-{role}"}


class TestOtherServices:
    """What moto cannot be asked: evaluated on each role's policies as they are deployed."""

    @pytest.mark.parametrize(
        ("role", "demand"),
        [
            *(
                ("submitter", Demand(f"emr-serverless:{each}", f"{SERVERLESS}/one", OURS))
                for each in ("StartJobRun", "ListJobRuns")
            ),
            *(
                ("submitter", Demand(f"emr-serverless:{each}", RUN, OURS))
                for each in ("GetJobRun", "CancelJobRun", "GetDashboardForJobRun")
            ),
            *(
                (role, Demand("emr-serverless:TagResource", RUN, TAGGED))
                for role in ("submitter", "scheduler")
            ),
            ("submitter", Demand("iam:PassRole", f"{ROLE}-stream", PASSED)),
            ("submitter", Demand("iam:PassRole", f"{ROLE}-refit", PASSED)),
            ("submitter", Demand("cloudformation:DescribeStacks", f"{STACK}/verger/1")),
            ("submitter", Demand("elasticmapreduce:AddJobFlowSteps", CLUSTER, step_of("stream"))),
            *(
                ("submitter", Demand(f"elasticmapreduce:{each}", CLUSTER, OURS))
                for each in ("DescribeCluster", "DescribeStep", "ListSteps", "CancelSteps", "CreatePersistentAppUI")
            ),
            ("submitter", Demand("elasticmapreduce:GetPersistentAppUIPresignedURL", PAGES, step_of("stream"))),
            ("submitter", Demand("elasticmapreduce:GetPersistentAppUIPresignedURL", PAGES)),
            ("scheduler", Demand("emr-serverless:StartJobRun", f"{SERVERLESS}/one", OURS)),
            ("scheduler", Demand("iam:PassRole", f"{ROLE}-refit", PASSED)),
            ("scheduler", Demand("iam:PassRole", f"{ROLE}-stream", PASSED)),
            ("scheduler", Demand("sqs:SendMessage", arn_of("verger-schedule-dead"))),
            ("scheduler", Demand("elasticmapreduce:AddJobFlowSteps", CLUSTER, step_of("refit"))),
            *((role, Demand("kms:Decrypt", KEY, BY_S3)) for role in (*LEGS, "instance")),
            *((role, Demand("kms:GenerateDataKey", KEY, BY_S3)) for role in ("stream", "refit", "submitter")),
            *(("instance", Demand("sts:AssumeRole", f"{ROLE}-{each}")) for each in ("stream", "refit")),
            ("service", Demand("iam:PassRole", f"{ROLE}-instance", {"iam:PassedToService": "ec2.amazonaws.com"})),
            ("service", Demand("kms:CreateGrant", KEY, BY_EC2 | {"kms:GrantIsForAWSResource": "true"})),
        ],
    )  # fmt: skip
    def test_own_work_is_allowed(self, role: str, demand: Demand, policies: dict[str, list[Document]]) -> None:
        """What the commands and the schedule call, on what bears our tag."""
        assert allowed(mine(policies[role]), demand)

    @pytest.mark.parametrize(
        ("role", "demand"),
        [
            ("submitter", Demand("emr-serverless:StartJobRun", f"{SERVERLESS}/one", OTHERS)),
            ("submitter", Demand("emr-serverless:StartJobRun", f"{SERVERLESS}/one")),
            ("submitter", Demand("emr-serverless:CancelJobRun", RUN, OTHERS)),
            ("submitter", Demand("emr-serverless:CancelJobRun", RUN)),
            ("submitter", Demand("emr-serverless:TagResource", f"{SERVERLESS}/one", TAGGED)),
            ("submitter", Demand("emr-serverless:TagResource", RUN, {"aws:RequestTag/verger:stack": "orchard"})),
            ("submitter", Demand("emr-serverless:DeleteApplication", f"{SERVERLESS}/one", OURS)),
            ("submitter", Demand("emr-serverless:UpdateApplication", f"{SERVERLESS}/one", OURS)),
            ("submitter", Demand("iam:PassRole", f"{ROLE}-stream", {"iam:PassedToService": "ec2.amazonaws.com"})),
            ("submitter", Demand("iam:PassRole", f"{ROLE}-submitter", PASSED)),
            ("submitter", Demand("iam:PassRole", f"{ROLE}-service", PASSED)),
            ("submitter", Demand("cloudformation:DescribeStacks", f"{STACK}/orchard/1")),
            ("submitter", Demand("cloudformation:UpdateStack", f"{STACK}/verger/1")),
            ("submitter", Demand("elasticmapreduce:AddJobFlowSteps", CLUSTER, step_of("instance"))),
            ("submitter", Demand("elasticmapreduce:AddJobFlowSteps", CLUSTER, OURS)),
            ("submitter", Demand("elasticmapreduce:CancelSteps", CLUSTER, OTHERS)),
            ("submitter", Demand("elasticmapreduce:GetPersistentAppUIPresignedURL", PAGES, step_of("another"))),
            ("submitter", Demand("elasticmapreduce:TerminateJobFlows", CLUSTER, OURS)),
            ("submitter", Demand("sts:AssumeRole", f"{ROLE}-stream")),
            ("scheduler", Demand("emr-serverless:StartJobRun", f"{SERVERLESS}/one", OTHERS)),
            ("scheduler", Demand("emr-serverless:CancelJobRun", RUN, OURS)),
            ("scheduler", Demand("iam:PassRole", f"{ROLE}-submitter", PASSED)),
            ("scheduler", Demand("elasticmapreduce:AddJobFlowSteps", CLUSTER, step_of("stream"))),
            *((role, Demand("kms:Decrypt", KEY)) for role in LEGS),
            *((role, Demand("kms:Decrypt", KEY, BY_EC2)) for role in LEGS),
            *((role, Demand("kms:Decrypt", f"{KEY}-of-others", BY_S3)) for role in (*LEGS, "instance", "service")),
            *((role, Demand("kms:ScheduleKeyDeletion", KEY)) for role in (*ROLES, "service")),
            ("reader", Demand("kms:GenerateDataKey", KEY, BY_S3)),
            ("scheduler", Demand("kms:Decrypt", KEY, BY_S3)),
            *((role, Demand("emr-serverless:StartJobRun", f"{SERVERLESS}/one", OURS)) for role in ("stream", "reader")),
            *((role, Demand("iam:PassRole", f"{ROLE}-refit", PASSED)) for role in ("stream", "refit", "instance")),
            ("stream", Demand("sts:AssumeRole", f"{ROLE}-refit")),
            ("instance", Demand("sts:AssumeRole", f"{ROLE}-submitter")),
            ("service", Demand("kms:CreateGrant", KEY, BY_EC2)),
        ],
    )  # fmt: skip
    def test_everything_else_is_denied(self, role: str, demand: Demand, policies: dict[str, list[Document]]) -> None:
        """Others' applications, runs and clusters; other roles; the key by itself."""
        assert not allowed(mine(policies[role]), demand)

    @pytest.mark.parametrize(
        ("role", "who", "context"),
        [
            ("stream", "emr-serverless.amazonaws.com", SERVERLESS_JOB),
            ("refit", "emr-serverless.amazonaws.com", SERVERLESS_JOB),
            ("stream", f"arn:aws:iam::{ACCOUNT}:root", NODE),
            ("reader", f"arn:aws:iam::{ACCOUNT}:root", {}),
            ("scheduler", "scheduler.amazonaws.com",
                {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": f"{SCHEDULES}/verger"}),
            ("service", "elasticmapreduce.amazonaws.com",
                {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": CLUSTER}),
            ("instance", "ec2.amazonaws.com", {}),
        ],
    )  # fmt: skip
    def test_who_may_take_up_a_role(self, role: str, who: str, context: dict[str, str], account: Account) -> None:
        """The service that needs it, for this account; a cluster's nodes; where it is for people, the account."""
        assert trusts(account.trust(f"verger-{role}"), who, context)

    @pytest.mark.parametrize(
        ("role", "who", "context"),
        [
            ("stream", "emr-serverless.amazonaws.com", {**SERVERLESS_JOB, "aws:SourceAccount": "210987654321"}),
            ("stream", "emr-serverless.amazonaws.com", {}),
            ("stream", "ec2.amazonaws.com", SERVERLESS_JOB),
            ("stream", f"arn:aws:iam::{ACCOUNT}:root", {"aws:PrincipalArn": f"{ROLE}-submitter"}),
            ("refit", f"arn:aws:iam::{ACCOUNT}:root", {"aws:PrincipalArn": f"{ROLE}-stream"}),
            ("reader", "arn:aws:iam::210987654321:root", {}),
            ("scheduler", "scheduler.amazonaws.com",
                {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": f"{SCHEDULES}/default"}),
            ("service", "elasticmapreduce.amazonaws.com", {"aws:SourceAccount": "210987654321"}),
            ("service", f"arn:aws:iam::{ACCOUNT}:root", {}),
        ],
    )  # fmt: skip
    def test_who_may_not(self, role: str, who: str, context: dict[str, str], account: Account) -> None:
        """Another account's use of a service, another role, another group of schedules."""
        assert not trusts(account.trust(f"verger-{role}"), who, context)


def mine(documents: list[Document]) -> list[Document]:
    """Return the policies that are of the template: Amazon's own has conditions of services that it alone knows."""
    return [each for each in documents if not any("PassRoleForEC2" in str(one.get("Sid")) for one in statements(each))]


def trusts(document: Document, who: str, context: dict[str, str]) -> bool:
    """Whether a role lets somebody take it up."""
    concerned = [each for each in statements(document) if who in principals(each)]
    return allowed([{"Statement": concerned}], Demand("sts:AssumeRole", context=context))


class TestTemplate:
    """The template's own parameters."""

    def test_what_is_given_is_what_roles_may_touch(self, account: Account) -> None:
        """Buckets, queue and key of somebody else's making take the place of those that the stack would make."""
        queue, key = f"arn:aws:sqs:{REGION}:{ACCOUNT}:told", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/given"
        account.deploy("given", NamePrefix="given", LandingBucket="photos", LakeBucket="tables", Queue=queue, Key=key)
        touched = {
            resource.removeprefix("arn:aws:s3:::").partition("/")[0]
            for role in LEGS
            for document in account.policies(f"given-{role}")
            for each in statements(document)
            for resource in values(each, "Resource")
            if any(action.startswith(("s3:", "sqs:", "kms:")) for action in values(each, "Action"))
        }
        assert touched == {"photos", "tables", queue, key.partition("/")[0]}

    def test_a_landing_without_a_prefix_is_its_whole_bucket(self, account: Account) -> None:
        """Listed from its root; with one, what lies beside it stays out of sight."""
        account.deploy("whole", NamePrefix="whole", LandingBucket="photos", Key=KEY)
        landing, documents = "arn:aws:s3:::photos", account.policies("whole-stream")
        assert allowed(documents, Demand("s3:ListBucket", landing, {"s3:prefix": ""}))
        assert allowed(documents, Demand("s3:GetObject", f"{landing}/1.jpg"))
        account.deploy("part", NamePrefix="part", LandingBucket="photos", LandingPrefix="in", Key=KEY)
        documents = account.policies("part-stream")
        assert allowed(documents, Demand("s3:ListBucket", landing, {"s3:prefix": "in/"}))
        assert not allowed(documents, Demand("s3:ListBucket", landing, {"s3:prefix": ""}))
        assert not allowed(documents, Demand("s3:GetObject", f"{landing}/inside.jpg"))

    def test_without_a_cluster_nothing_of_one_is_there(self, account: Account) -> None:
        """No node may take up a leg's role, nobody adds steps, and the two roles of EMR on EC2 are not made."""
        account.deploy("serverless-only", NamePrefix="alone", Key=KEY)
        made = [each["RoleName"] for each in account.client("iam").list_roles()["Roles"]]
        assert sorted(each for each in made if each.startswith("alone-")) == [
            "alone-reader", "alone-refit", "alone-scheduler", "alone-stream", "alone-submitter",
        ]  # fmt: skip
        assert len(statements(account.trust("alone-stream"))) == 1
        assert "elasticmapreduce" not in json.dumps(account.policies("alone-submitter"))
        assert "elasticmapreduce" not in json.dumps(account.policies("alone-scheduler"))

    def test_no_statement_is_for_every_resource_or_every_action(self, policies: dict[str, list[Document]]) -> None:
        """A star in a resource never stands for a service, a bucket, a queue or a role as a whole."""
        for documents in policies.values():
            for each in (each for document in mine(documents) for each in statements(document)):
                assert each["Effect"] == "Allow"
                assert not any("*" in action for action in values(each, "Action"))
                for resource in values(each, "Resource"):
                    service, kept = resource.split(":")[2], resource.split(":", 5)[5]
                    assert service in SERVICES
                    assert not kept.startswith("*")
                    assert "*" not in kept.partition("/")[0] or kept.startswith("verger")


SERVICES = ("s3", "sqs", "kms", "emr-serverless", "elasticmapreduce", "cloudformation", "iam")
