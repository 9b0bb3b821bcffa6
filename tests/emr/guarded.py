"""moto's server with authorisation switched on, as a program: `python -m tests.emr.guarded FILE`.

Who asks, and that the request is signed with that role's own credentials, is moto's work. What is asked for is put here
as IAM knows it, which moto does only in part: HeadBucket is `s3:ListBucket`, a listing's prefix is a condition key, a
copy reads its source, each key of a bulk deletion is a resource, a batch of SQS is its single action. Whether the
role's policies allow it says `tests.emr.policies`. Each answer is a line of JSON in FILE.
"""

import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from moto.cloudformation import parsing
from moto.iam.access_control import IAMRequestBase
from moto.iam.models import Policy, Role, iam_backends
from moto.s3.responses import ACTION_MAP

from tests.emr.policies import Demand, allowed
from tests.storage.provider import serve


class Gate:
    """Decides about each request, in place of moto's `check_action_permitted`, and writes its decisions down.

    Parameters
    ----------
    record
        Gets a line for each.
    """

    def __init__(self, record: Path) -> None:
        self._record = record.open("a", buffering=1)
        self._documents: dict[str, list[Any]] = {}

    def check(self, request: Any, resource: str) -> None:
        """Let a request pass or raise what the service answers to one that is denied."""
        if request._action == "sts:GetCallerIdentity":
            return
        documents = self._of(request._access_key)
        verdicts = [(each, allowed(documents, each)) for each in demands(request, resource)]
        who = getattr(request._access_key, "_owner_role_name", "")
        for demand, verdict in verdicts if who else ():
            line = {"role": who, "allowed": verdict, **vars(demand)}
            self._record.write(json.dumps(line) + "\n")
        if not all(verdict for _, verdict in verdicts):
            request._raise_access_denied()

    def _of(self, who: Any) -> list[Any]:
        """Return somebody's policies; nobody's change once they have asked for something."""
        if who.arn not in self._documents:
            self._documents[who.arn] = [_document(each) for each in who.collect_policies()]
        return self._documents[who.arn]


def demands(request: Any, resource: str) -> Iterator[Demand]:
    """Yield what a request wants, as IAM knows it."""
    action, parts = request._action, urlsplit(request._path)
    query = parse_qs(parts.query, keep_blank_values=True)
    if action == "s3:DeleteObject" and "delete" in query:
        yield from (Demand(action, f"{resource}/{key}") for key in _keys(request._body))
    elif action == "s3:ListBucket":
        # A listing without a prefix is one of everything; so is a question for the bucket itself.
        yield Demand(action, resource, {"s3:prefix": query.get("prefix", [""])[0]})
    elif action.startswith("sqs:"):
        yield Demand(action.removesuffix("Batch"), resource)
    else:
        yield Demand(action, resource)
    source = request._headers.get("X-Amz-Copy-Source")
    if source:
        yield Demand("s3:GetObject", f"arn:aws:s3:::{unquote(source).lstrip('/').partition('?')[0]}")


def _keys(body: bytes) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(body).iter() if each.tag.endswith("Key")]


def _document(policy: Any) -> Any:
    if isinstance(policy, Policy):
        policy = next(each.document for each in policy.versions if each.is_default)
    return json.loads(policy if isinstance(policy, str) else policy["policy_document"])


def _mend() -> None:
    """Let moto's CloudFormation know all of a role, and AWS::NoValue; let a bucket be asked for as IAM has it."""
    ACTION_MAP["BUCKET"]["HEAD"]["DEFAULT"] = "ListBucket"
    changed: Any = Role
    create, put, clean = changed.create_from_cloudformation_json, Role.put_policy, parsing.clean_json
    changed.create_from_cloudformation_json = partial(_create, create)
    changed.put_policy = lambda role, name, said: put(role, name, said if isinstance(said, str) else json.dumps(said))
    parsing.clean_json = lambda *arguments: _without_nothing(clean(*arguments))


def _create(create: Any, name: str, described: Any, account: str, region: str, **more: Any) -> Role:
    role: Role = create(name, described, account, region, **more)
    for arn in described["Properties"].get("ManagedPolicyArns", []):
        iam_backends[account]["aws"].attach_role_policy(role_name=role.name, policy_arn=arn)
    return role


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: each for name, each in value.items() if each is not None}
    return [each for each in value if each is not None] if isinstance(value, list) else value


def main() -> None:
    """Serve until the parent is gone."""
    # Before the first service is set up: a role of the templates names one of Amazon's own policies.
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    _mend()
    gate = Gate(Path(sys.argv[1]))
    changed: Any = IAMRequestBase
    changed.check_action_permitted = lambda request, resource: gate.check(request, resource)
    serve()


if __name__ == "__main__":
    main()
