"""Least privilege: each leg does all of its work in its own role, and nothing else.

The roles are those of `bootstrap/templates/base.yaml`, made by moto's CloudFormation in an account where authorisation
is on (`tests.emr.guarded`). In it a day of a lake is played (`tests.emr.day`) by the `verger` command itself: Spark,
S3A, Delta, delta-rs, obstore and boto3 sign with a role's temporary credentials, and what that role's policies do not
allow is denied. Then every role is tried on what is not its own, and what is granted is held against what was used.

What this cannot prove. IAM's rules are `tests.emr.policies`' reading of its documentation. moto asks KMS nothing when
an object is put, and knows neither EMR Serverless' nor EMR's conditions, nor services that take up roles: those
statements are evaluated (`test_permission_rules`), by the same reading, on requests as the service authorization
reference has them. Policies of buckets, queues, keys and endpoints, and Amazon's own policy for EMR's service role take
no part. What EMR's S3A asks of S3 may differ from what Hadoop 3.4 asks here, and what EMR asks in the name of a job
(packages, logs) is done as its guides say. A first deploy has to show these.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from streaming.backbones.shelf import Compiled
from tests.emr.account import REGION, Account
from tests.emr.day import DEAD, LAKE, LANDING, LEGS, PREFIX, QUEUE, ROLES, Day
from tests.emr.policies import Demand, Document, allowed, statements, values

pytestmark = pytest.mark.slow
S3 = "arn:aws:s3:::"


@pytest.fixture(scope="module")
def day(account: Account, embedded: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """Play the day."""
    played = Day(account, tmp_path_factory.mktemp("day"))
    try:
        played.play(embedded)
        yield played
    finally:
        played.clear()


class TestOwnWork:
    """What each leg does."""

    def test_every_command_of_the_day_succeeds_in_its_own_role(self, day: Day) -> None:
        """The stream with what is asked of it, the refit, those who look, those who deploy and ask."""
        failed = [(role, done.args, done.stderr[-600:]) for role, done in day.done if done.returncode]
        assert not failed
        assert {role for role, _ in day.done} == {*LEGS}

    def test_nothing_of_it_was_denied_in_silence(self, day: Day) -> None:
        """A denial that a program gets over is a statement that is missing, or a needless call."""
        assert [each for each in day.asked if not each["allowed"]] == []

    def test_what_is_granted_is_used_or_has_a_reason(self, day: Day, policies: dict[str, list[Document]]) -> None:
        """Each action on each resource of S3 and SQS; a reason for what was used after all is out of date."""
        used = [(each["role"], Demand(each["action"], each["resource"], each["context"])) for each in day.asked]
        unused = {
            (role, *grant.told)
            for role in LEGS
            for grant in grants(policies[role])
            if not any(who == f"verger-{role}" and grant.covers(demand) for who, demand in used)
        }
        assert unused == set(UNUSED)

    def test_a_request_waits_in_the_lake_where_no_stream_runs(self, day: Day, account: Account) -> None:
        """Who may only ask does not do it in the stream's place; the next stream will."""
        waiting = day.run("submitter", "upkeep")
        assert waiting.returncode == 1
        assert "leases/stream" in waiting.stderr.splitlines()[-1]
        listed = account.client("s3").list_objects_v2(Bucket=LAKE, Prefix="lake/requests/2")
        assert listed["KeyCount"] == 1


@dataclass(frozen=True)
class Grant:
    """One action on one resource that a statement allows."""

    action: str
    resource: str
    condition: Any

    @property
    def told(self) -> tuple[str, str]:
        """The action, and the resource without what all have in common."""
        short = (
            self.resource.removeprefix(S3).replace(f"{LAKE}/", "").replace(LAKE, "bucket").replace(LANDING, "landing")
        )
        prefix = (self.condition or {}).get("StringLike", {}).get("s3:prefix", "")
        return self.action, f"{short} {prefix}".strip()

    def covers(self, demand: Demand) -> bool:
        """Whether it allows something."""
        alone = {"Effect": "Allow", "Action": self.action, "Resource": self.resource, "Condition": self.condition or {}}
        return allowed([{"Statement": alone}], demand)


def grants(documents: list[Document]) -> Iterator[Grant]:
    """Yield what policies allow on S3 and SQS, taken apart."""
    for document in documents:
        for each in statements(document):
            for action in values(each, "Action"):
                for resource in values(each, "Resource") if action.startswith(("s3:", "sqs:")) else ():
                    yield Grant(action, resource, each.get("Condition"))


PARTS = "only where a part of a large file cannot be put"
UNUSED = {
    ("stream", "s3:AbortMultipartUpload", "lake/arrivals/*"): PARTS,
    ("stream", "s3:AbortMultipartUpload", "lake/features/*"): PARTS,
    ("stream", "s3:AbortMultipartUpload", "lake/components/*"): PARTS,
    ("refit", "s3:AbortMultipartUpload", "lake/models/*"): PARTS,
    ("refit", "s3:AbortMultipartUpload", "lake/components/*"): PARTS,
    ("submitter", "s3:AbortMultipartUpload", "packages/*"): PARTS,
    ("refit", "s3:DeleteObject", "lake/models/*"): "files of models go only days after their featurizer was dropped",
    ("reader", "s3:GetObject", "lake"): "looked for only where there is no lake yet",
    ("submitter", "s3:GetObject", "lake"): "looked for only where there is no lake yet",
    # moto says in any case that what is missing is missing.
    ("reader", "s3:ListBucket", f"landing {PREFIX}/*"): "lets S3 tell a picture that is gone from a forbidden one",
    ("submitter", "s3:ListBucket", "bucket packages/*"): "lets S3 tell a package that is missing from a forbidden one",
}


IN_LAKE = (
    "arrivals/_delta_log/00000000000000000000.json", "features/part-1.parquet", "models/part-1.parquet",
    "components/part-1.parquet", "checkpoints/one/metadata", "quarantine/one/metadata", "requests/1.json",
    "tombstones/1.json", "leases/stream", "leases/refit", "reports/stream.json", "backbones/one.tflite",
)  # fmt: skip
# What each role may read, put and delete of these; of everything else nothing.
READS = {
    "stream": IN_LAKE,
    "refit": tuple(each for each in IN_LAKE if each.startswith(("features", "models", "components", "leases/refit"))),
    "reader": IN_LAKE,
    "submitter": IN_LAKE,
    "scheduler": (),
    "instance": (),
}
PUTS = {
    "stream": tuple(each for each in IN_LAKE if not each.startswith(("models", "backbones"))),
    "refit": ("models/part-1.parquet", "components/part-1.parquet", "leases/refit"),
    "reader": (),
    "submitter": ("requests/1.json", "backbones/one.tflite"),
    "scheduler": (),
    "instance": (),
}
DELETES = {
    "stream": tuple(each for each in IN_LAKE if not each.startswith(("models", "tombstones", "leases", "reports"))),
    "refit": ("models/part-1.parquet", "components/part-1.parquet"),
    "reader": (),
    "submitter": ("backbones/one.tflite",),
    "scheduler": (),
    "instance": (),
}
KINDS = {"get_object": READS, "put_object": PUTS, "delete_object": DELETES}
OBJECTS = [
    (role, kind, f"lake/{key}")
    for role in ROLES
    for kind, may in KINDS.items()
    for key in IN_LAKE
    if key not in may[role]
]
BESIDE = [
    *((role, kind, "logs/one") for role in ROLES for kind in ("get_object", "delete_object")),
    *((role, "put_object", "logs/one") for role in ("reader", "submitter", "scheduler")),
    *((role, "get_object", "packages/one/entry.py") for role in ("reader", "scheduler")),
    *((role, "put_object", "packages/one/entry.py") for role in ROLES if role != "submitter"),
    *((role, "delete_object", "packages/one/entry.py") for role in ROLES),
    *((role, kind, "elsewhere/1") for role in ROLES for kind in KINDS),
]
IN_LANDING = [
    *((role, "get_object", f"{PREFIX}/1.jpg") for role in ("refit", "submitter", "scheduler", "instance")),
    *((role, kind, f"{PREFIX}/1.jpg") for role in ROLES for kind in ("put_object", "delete_object")),
    *((role, "get_object", each) for role in ROLES for each in ("elsewhere/1.jpg", f"{PREFIX}side/1.jpg")),
]
LISTS = [
    *((role, LANDING, f"{PREFIX}/") for role in ("refit", "submitter", "scheduler", "instance")),
    *((role, LANDING, each) for role in ROLES for each in ("", "elsewhere/", f"{PREFIX}side/")),
    *((role, LAKE, each) for role in ROLES for each in ("", "logs/", "elsewhere/")),
    *(("refit", LAKE, f"lake/{each}/") for each in ("arrivals", "checkpoints", "requests", "tombstones", "backbones")),
    *((role, LAKE, each) for role in ("scheduler", "instance") for each in ("lake/", "lake/features/")),
    *((role, LAKE, "packages/") for role in ("reader", "scheduler")),
]
ON_QUEUE: dict[str, dict[str, Any]] = {
    "receive_message": {},
    "delete_message": {"ReceiptHandle": "one"},
    "send_message": {"MessageBody": "one"},
    "purge_queue": {},
    "delete_queue": {},
    "set_queue_attributes": {"Attributes": {"VisibilityTimeout": "1"}},
}
ON_QUEUES = [
    *((role, QUEUE, call) for role in ROLES for call in ON_QUEUE if role != "stream"),
    *(("stream", QUEUE, call) for call in ("send_message", "purge_queue", "delete_queue", "set_queue_attributes")),
    *((role, DEAD, call) for role in ROLES for call in ON_QUEUE),
]
ON_BUCKETS: dict[str, dict[str, Any]] = {
    "delete_bucket": {},
    "get_bucket_policy": {},
    "put_bucket_policy": {"Policy": "{}"},
    "put_bucket_versioning": {"VersioningConfiguration": {"Status": "Suspended"}},
    "list_object_versions": {"Prefix": "lake/features/"},
}


class TestEverythingElse:
    """What is denied, asked of the services in each role."""

    @pytest.mark.parametrize("role", ROLES)
    def test_objects_of_others(self, role: str, clients: dict[tuple[str, str], Any]) -> None:
        """No role reads, writes or deletes what is not its own, in the lake, beside it, or in the landing."""
        asked = [(LAKE, *each) for each in (*OBJECTS, *BESIDE)] + [(LANDING, *each) for each in IN_LANDING]
        got = [
            (bucket, kind, key)
            for bucket, who, kind, key in asked
            if who == role and not denied(clients[role, "s3"], kind, Bucket=bucket, Key=key)
        ]
        assert got == []

    @pytest.mark.parametrize("role", ROLES)
    def test_lists_of_others(self, role: str, clients: dict[tuple[str, str], Any]) -> None:
        """No role lists what it may not read; nobody lists a whole bucket."""
        got = [
            (bucket, prefix)
            for who, bucket, prefix in LISTS
            if who == role and not denied(clients[role, "s3"], "list_objects_v2", Bucket=bucket, Prefix=prefix)
        ]
        assert got == []

    @pytest.mark.parametrize("role", ROLES)
    def test_buckets_themselves(self, role: str, clients: dict[tuple[str, str], Any]) -> None:
        """No role changes a bucket, looks at older versions or makes one."""
        s3 = clients[role, "s3"]
        got = [
            (bucket, call)
            for bucket in (LAKE, LANDING)
            for call, more in ON_BUCKETS.items()
            if not denied(s3, call, Bucket=bucket, **more)
        ]
        assert got == []
        assert denied(s3, "list_buckets")
        place = {"LocationConstraint": REGION}
        assert denied(s3, "create_bucket", Bucket="verger-another", CreateBucketConfiguration=place)

    @pytest.mark.parametrize("role", ROLES)
    def test_queues(self, role: str, clients: dict[tuple[str, str], Any]) -> None:
        """Only the stream receives and deletes, message by message; nobody touches dead letters."""
        got = [
            (queue, call)
            for who, queue, call in ON_QUEUES
            if who == role and not denied(clients[role, "sqs"], call, QueueUrl=queue, **ON_QUEUE[call])
        ]
        assert got == []

    def test_a_refusal_here_is_not_one_of_everything(self, clients: dict[tuple[str, str], Any]) -> None:
        """The same calls pass where they are granted."""
        assert not denied(clients["reader", "s3"], "list_objects_v2", Bucket=LANDING, Prefix=f"{PREFIX}/")
        assert not denied(clients["submitter", "s3"], "put_object", Bucket=LAKE, Key="packages/two/entry.py")
        assert not denied(clients["submitter", "s3"], "get_object", Bucket=LAKE, Key="packages/two/entry.py")
        assert not denied(clients["stream", "sqs"], "receive_message", QueueUrl=QUEUE)


def denied(client: Any, call: str, **arguments: Any) -> bool:
    """Whether a call is denied; that it fails for another reason is not what is asked."""
    try:
        getattr(client, call)(**arguments)
    except ClientError as error:
        # moto's SQS denies in XML, of which botocore, which expects JSON, makes a text.
        return "AccessDenied" in str(error)
    return False
