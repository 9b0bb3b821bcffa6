"""What a stack of Verger's deployed, read from its outputs: where jobs run, with which roles, on which lake."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from bootstrap.emr import account
from conf import access
from conf.errors import AccountError, UsageError
from conf.settings import Settings
from streaming.discovery import sqs

Kind = Literal["serverless", "cluster"]
_KINDS: dict[str, Kind] = {"Application": "serverless", "Cluster": "cluster"}
_OUTPUTS = ("Architecture", "Landing", "Lake", "Queue", "StreamRole", "RefitRole", "Logs")


@dataclass(frozen=True)
class Deployment:
    """What one stack deployed.

    Attributes
    ----------
    stack, region : str
    kind : {"serverless", "cluster"}
    id : str
        Of the application or the cluster.
    architecture : str
        x86_64 or arm64.
    package : str
        s3:// URI of the packed environment's folder, without a slash at its end; empty where the stack names none.
    landing, lake, queue : str
        As the user says, else of the stack.
    stack_landing : str
        Whose notifications come by the stack's queue.
    stream_role, refit_role, logs : str
        ARNs of the legs' roles, s3:// URI for logs.
    drained : bool
        Whether a schedule drains the landing now and then, in place of a stream that runs on.
    """

    stack: str
    region: str
    kind: Kind
    id: str
    architecture: str
    package: str
    landing: str
    lake: str
    queue: str
    stack_landing: str
    stream_role: str
    refit_role: str
    logs: str
    drained: bool = False


def read(settings: Settings, package: str = "", client: Any = None) -> Deployment:
    """Return what the stack that the settings name deployed; what they say of landing, lake and queue goes before.

    Parameters
    ----------
    settings
        `stack` and `region` say which stack.
    package
        Goes before the stack's, where it is given.
    client
        Of CloudFormation; None: one for the region in force.

    Raises
    ------
    UsageError
        No credentials; the lake or the package is none on S3, or the package is made for another architecture.
    AccountError
        There is no such stack, it is none of Verger's, or lacks outputs: the message names each.
    """
    region = account.region(settings.region)
    stack = _stack(client or account.client("cloudformation", region), settings.stack, region)
    outputs = {each["OutputKey"]: str(each["OutputValue"]).strip() for each in stack.get("Outputs", [])}
    place = next((name for name in _KINDS if outputs.get(name)), None)
    state = stack["StackStatus"]
    if place is None:
        raise AccountError(
            f"the stack {settings.stack} ({state}) has neither output Application nor Cluster: name one that was made "
            "from `verger emr template serverless` or `cluster` (--stack)"
        )
    lake = settings.lake or outputs.get("Lake", "")
    if lake and access.scheme_of(lake) != "s3":
        raise UsageError(f"--lake {lake}: the machines of a job do not see it: give s3://BUCKET/PREFIX, or the stack's")
    if lake:
        access.bucket_of(lake)
    if settings.queue:
        sqs.check(settings.queue)
    missing = [name for name in _OUTPUTS if not outputs.get(name)]
    if missing:
        raise AccountError(
            f"the stack {settings.stack} ({state}) lacks the output{'s' * (len(missing) > 1)} {', '.join(missing)}: "
            f"deploy `verger emr template {_KINDS[place]}` of this version"
        )
    return Deployment(
        stack=settings.stack,
        region=region,
        kind=_KINDS[place],
        id=outputs[place],
        architecture=outputs["Architecture"],
        package=_package(package or outputs.get("Package", ""), outputs["Architecture"]),
        landing=settings.landing or outputs["Landing"],
        lake=lake,
        queue=settings.queue or outputs["Queue"],
        stack_landing=outputs["Landing"],
        stream_role=outputs["StreamRole"],
        refit_role=outputs["RefitRole"],
        logs=outputs["Logs"],
        drained=bool(outputs.get("DrainSchedule")),
    )


def _stack(client: Any, name: str, region: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = account.call(client, "describe_stacks", StackName=name)["Stacks"][0]
    except AccountError as error:
        if error.code != "ValidationError" or "does not exist" not in str(error):
            raise
        raise AccountError(
            f"there is no stack named {name} in {region}: deploy one (`verger emr template serverless`), or say "
            "--stack and --region of another",
            error.code,
        ) from None
    return found


def _package(place: str, architecture: str) -> str:
    if place and not re.fullmatch(r"s3://[^/]+/.*[^/]/*", place):
        raise UsageError(f"--package {place} is no place on S3: say what `verger emr package --upload` printed")
    place = place.rstrip("/")
    other = {"x86_64": "arm64", "arm64": "x86_64"}.get(architecture)
    if other and f"-{other}-" in place.rpartition("/")[2]:
        raise UsageError(
            f"the package {place} is made for {other}, and the stack's machines are {architecture}: make one with "
            f"`verger emr package --arch {architecture}`"
        )
    return place
