"""An account for the tests: moto with authorisation on, roles of the template `base`, and who acts in them."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import yaml  # type: ignore[import-untyped]
from botocore.config import Config
from moto.cloudformation.utils import yaml_tag_constructor

from tests.emr.policies import Document
from tests.storage.children import child
from tests.storage.cloud import Cloud

REGION = "eu-west-3"
ACCOUNT = "123456789012"
_BASE = Path(__file__).parents[2] / "bootstrap" / "templates" / "base.yaml"


@dataclass(frozen=True)
class Credentials:
    """What somebody signs with; roles have a token."""

    key: str
    secret: str
    token: str = ""


@dataclass(frozen=True)
class Account:
    """A running account.

    Attributes
    ----------
    endpoint : str
        Of all its services.
    record : Path
        Gets a line of JSON for everything that a role asks for; see `tests.emr.guarded`.
    owner : Credentials
        May do everything.
    """

    endpoint: str
    record: Path
    owner: Credentials

    def client(self, service: str, credentials: Credentials | None = None) -> Any:
        """Return a boto3 client, the owner's or somebody else's."""
        own = credentials or self.owner
        session = boto3.Session(own.key, own.secret, own.token or None, REGION)
        # What is denied is denied at once.
        settled = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
        return session.client(service, endpoint_url=self.endpoint, config=settled)

    def deploy(self, stack: str, **parameters: str) -> None:
        """Create a stack of the template `base`, its roles and the buckets that are new; the rest is not for moto."""
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
        self.client("cloudformation").create_stack(
            StackName=stack, TemplateBody=json.dumps(_permissions()), Parameters=given,
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )  # fmt: skip

    def role(self, name: str) -> Credentials:
        """Take up a role."""
        found = self.client("sts").assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{name}", RoleSessionName="test")
        given = found["Credentials"]
        return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    def policies(self, role: str) -> list[Document]:
        """Return every policy of a role, with everything filled in."""
        iam = self.client("iam")
        found = [
            iam.get_role_policy(RoleName=role, PolicyName=each)["PolicyDocument"]
            for each in iam.list_role_policies(RoleName=role)["PolicyNames"]
        ]
        for each in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            arn = each["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            found.append(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])
        return found

    def trust(self, role: str) -> Document:
        """Return who may take up a role."""
        found: Document = self.client("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        return found

    def environment(self, credentials: Credentials) -> dict[str, str]:
        """Return the environment of a process that acts as somebody: nothing of this machine's own is left in it."""
        usual = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "VERGER_"))}
        return {
            **usual,
            **Cloud(self.endpoint).environment(),
            "AWS_ACCESS_KEY_ID": credentials.key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret,
            "AWS_SESSION_TOKEN": credentials.token,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "COLUMNS": "200",
        }

    def asked(self) -> list[dict[str, Any]]:
        """Return what roles have asked for so far."""
        return [json.loads(line) for line in self.record.read_text().splitlines()]


def _permissions() -> dict[str, Any]:
    # Of its own, so that no other loader learns CloudFormation's short forms.
    loader: Any = type("Loader", (yaml.SafeLoader,), {})
    yaml.add_multi_constructor("", yaml_tag_constructor, Loader=loader)
    template: dict[str, Any] = yaml.load(_BASE.read_text(), loader)
    resources = {name: each for name, each in template["Resources"].items() if each["Type"].startswith("AWS::IAM::")}
    # Of the buckets only their names.
    for name in ("OwnLanding", "OwnLake"):
        bucket = template["Resources"][name]
        resources[name] = bucket | {"Properties": {"BucketName": bucket["Properties"]["BucketName"]}}
    used = ("Parameters", "Conditions")
    return {name: template[name] for name in used} | {"Resources": resources}


@contextmanager
def opened(record: Path) -> Iterator[Account]:
    """Run an account for the length of a `with` block. Its owner is set up first, then nobody is let in unasked."""
    with child("tests.emr.guarded", str(record)) as endpoint:
        anybody = Account(endpoint, record, Credentials("anybody", "anybody"))
        iam = anybody.client("iam")
        iam.create_user(UserName="owner")
        everything = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
        iam.put_user_policy(UserName="owner", PolicyName="everything", PolicyDocument=json.dumps(everything))
        made = iam.create_access_key(UserName="owner")["AccessKey"]
        # How many requests more go unasked. A form, as urllib would have it, is not what moto reads.
        with urlopen(Request(f"{endpoint}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})):
            yield Account(endpoint, record, Credentials(made["AccessKeyId"], made["SecretAccessKey"]))
