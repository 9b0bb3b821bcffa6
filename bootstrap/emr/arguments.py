"""What the entry of a job is told: the deployment's places, and each setting that somebody gave, as flags.

What lies on this machine cannot be told to another one, and is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bootstrap.emr.deployment import Deployment
from conf import access
from conf.errors import UsageError
from conf.redaction import is_secret
from conf.session import parse_spark_conf
from conf.settings import Resolved, Settings, flag
from streaming.backbones.request import parse_backbone

# What the deployment says, and what only this machine has.
_PLACES = frozenset({"landing", "lake", "discover", "queue"})
_OF_HERE = frozenset({"cores"})


def of_stream(
    names: Sequence[str], resolved: Resolved, deployment: Deployment, spark: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the arguments of the stream's entry.

    Parameters
    ----------
    names
        The settings that the leg takes.
    resolved
        Each that does not have its default travels.
    deployment
        Names landing, lake and queue.
    spark
        Settings of Spark in force: what `spark_conf` says, travels with the values that they have there.

    Raises
    ------
    UsageError
        A setting names what only this machine has, or would have the stack's queue read for another landing.
    """
    settings = resolved.settings
    if not access.scheme_of(deployment.landing):
        raise UsageError(
            f"--landing {deployment.landing}: the machines of a job do not see it: give s3://BUCKET/PREFIX, or the "
            "stack's"
        )
    access.bucket_of(deployment.landing)
    _check_backbones(settings)
    listing = settings.discover == "listing" and resolved.origins["discover"] != "default"
    if not listing and not settings.queue and not _same(deployment.landing, deployment.stack_landing):
        raise UsageError(
            f"--landing {deployment.landing} is not the landing of the stack {deployment.stack}, whose queue tells of "
            "its own pictures only: say --queue of a queue for this one, or --discover listing"
        )
    found = ("--discover", "listing") if listing else ("--discover", "notifications", "--queue", deployment.queue)
    places = ("--landing", deployment.landing, "--lake", deployment.lake, *found)
    return "stream", *places, *_further(names, resolved, spark), *_region(resolved, deployment)


def of_refit(
    names: Sequence[str], resolved: Resolved, deployment: Deployment, spark: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the arguments of the refit's entry; see `of_stream`."""
    return "refit", "--lake", deployment.lake, *_further(names, resolved, spark), *_region(resolved, deployment)


def own_spark(settings: Settings) -> dict[str, str]:
    """Return what `spark_conf` says.

    Raises
    ------
    UsageError
        As `conf.session.parse_spark_conf`, or it holds a secret.
    """
    own = parse_spark_conf(settings.spark_conf)
    secret = next((name for name in own if is_secret(name)), None)
    if secret:
        raise UsageError(
            f"spark_conf: {secret} would stand in the job for everybody who may look at it: leave it out, and let the "
            "job's role have what it needs"
        )
    return own


def _further(names: Sequence[str], resolved: Resolved, spark: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys((*names, "s3_endpoint", "s3_region")):
        if name in _PLACES | _OF_HERE or resolved.origins[name] == "default":
            continue
        value = getattr(resolved.settings, name)
        if name == "spark_conf":
            value = " ".join(f"{key}={spark[key]}" for key in own_spark(resolved.settings))
        yield from _flags(name, value)


def _region(resolved: Resolved, deployment: Deployment) -> tuple[str, ...]:
    """Return the region of the stack, whose buckets these are.

    To ask S3 for a bucket's would go to another region, which a private network does not reach.
    """
    return () if resolved.settings.s3_region else ("--s3-region", deployment.region)


def _flags(name: str, value: Any) -> Iterator[str]:
    if value is True:
        yield flag(name)
    elif isinstance(value, tuple):
        for each in value:
            yield from (flag(name), each)
    elif value is not False and value != "":
        yield from (flag(name), str(value))


def _check_backbones(settings: Settings) -> None:
    if settings.runtime == "tensorflow":
        raise UsageError("--runtime tensorflow: there is no TensorFlow in the package that a job runs: leave it out")
    for spec in settings.backbone:
        wish = parse_backbone(spec, settings.weights, settings.pooling, settings.fit)
        if wish.weights != wish.architecture.named_weights and not wish.weights.startswith("random:"):
            raise UsageError(
                f"--backbone {spec}: {wish.file} is a file of this machine, which a job does not see: stream networks "
                "that are known by name"
            )


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")
