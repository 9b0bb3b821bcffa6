"""What the tests take for deployed, and clients that answer by script and hold each request against the model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.stub import Stubber

from bootstrap.emr.deployment import Deployment, Kind
from conf.settings import Resolved, resolve
from tests.emr.service_model import faults

ACCOUNT = "123456789012"
MORNING = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
OUTPUTS = {
    "Architecture": "x86_64",
    "Package": "s3://lake/packages/verger-0.1.0-x86_64-0123456789ab",
    "Landing": "s3://landing",
    "Lake": "s3://lake/lake",
    "Queue": f"https://sqs.eu-west-3.amazonaws.com/{ACCOUNT}/verger-landing",
    "StreamRole": f"arn:aws:iam::{ACCOUNT}:role/verger-stream",
    "RefitRole": f"arn:aws:iam::{ACCOUNT}:role/verger-refit",
    "Logs": "s3://lake/logs/",
}
APPLICATION, CLUSTER = "00fabc1234567890", "j-1ABCDEFGHIJKL"


def deployed(kind: Kind = "serverless", *, drained: bool = False, **more: str) -> Deployment:
    """Give a deployment; `more` replaces what it says of itself."""
    values = {
        "stack": "verger",
        "region": "eu-west-3",
        "id": APPLICATION if kind == "serverless" else CLUSTER,
        "architecture": OUTPUTS["Architecture"],
        "package": OUTPUTS["Package"],
        "landing": OUTPUTS["Landing"],
        "lake": OUTPUTS["Lake"],
        "queue": OUTPUTS["Queue"],
        "stack_landing": OUTPUTS["Landing"],
        "stream_role": OUTPUTS["StreamRole"],
        "refit_role": OUTPUTS["RefitRole"],
        "logs": OUTPUTS["Logs"],
        **more,
    }
    return Deployment(kind=kind, drained=drained, **values)


def given(**flags: Any) -> Resolved:
    """Give the settings in force after these flags, and of nothing else on this machine."""
    return resolve(flags, {}, folder=Path(__file__).parent)


@dataclass(frozen=True)
class Said:
    """One answer of a script: `refused` is the code of a refusal."""

    operation: str
    answer: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, Any] | None = None
    refused: str = ""
    message: str = ""


@contextmanager
def scripted(service: str, *script: Said) -> Iterator[Any]:
    """Give a client that answers by script, in this order and each once, and refuses what the service's model does."""
    client = _client(service)
    with Stubber(client) as stubber:
        for each in script:
            if each.refused:
                stubber.add_client_error(each.operation, each.refused, each.message, expected_params=each.expected)
            else:
                stubber.add_response(each.operation, each.answer, each.expected)
        yield client
        stubber.assert_no_pending_responses()


@cache
def _client(service: str) -> Any:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing-secret"}
    client = boto3.Session(**keys, region_name="eu-west-3").client(service)
    client.meta.events.register("before-parameter-build", checked)
    return client


def checked(params: dict[str, Any], model: Any, **_: Any) -> None:
    """Hold a request against its service's model, as a handler of botocore's event `before-parameter-build`."""
    found = faults(model.service_model.service_name, model.name, params)
    assert found == [], found


def after(flag: str, arguments: Sequence[str]) -> str:
    """Give what stands behind a flag."""
    return arguments[arguments.index(flag) + 1]
