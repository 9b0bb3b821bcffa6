"""What the entry of a job is told."""

from typing import Any

import pytest

from bootstrap.commands.legs import REFIT, STREAM
from bootstrap.emr import arguments
from conf.errors import UsageError
from conf.settings import NAMES, resolve
from tests.emr.deployed import OUTPUTS, after, deployed, given

PLACES = ("--landing", OUTPUTS["Landing"], "--lake", OUTPUTS["Lake"])
TOLD = ("stream", *PLACES, "--discover", "notifications", "--queue", OUTPUTS["Queue"])
# Of the stack, whose buckets these are.
REGION = ("--s3-region", "eu-west-3")


def of_stream(landing: str = "", **flags: Any) -> tuple[str, ...]:
    """Give the arguments of a stream."""
    there = deployed(landing=landing or OUTPUTS["Landing"], queue=str(flags.get("queue") or OUTPUTS["Queue"]))
    return arguments.of_stream(STREAM, given(**flags), there, arguments.own_spark(given(**flags).settings))


def test_the_stack_alone_is_enough() -> None:
    """Its landing, lake and queue, and pictures by notifications."""
    assert of_stream() == (*TOLD, *REGION)
    assert arguments.of_refit(REFIT, given(), deployed(), {}) == ("refit", "--lake", OUTPUTS["Lake"], *REGION)


def test_what_was_given_travels_and_nothing_else() -> None:
    """Also where it equals the default: the package may be of another version, with another default."""
    assert of_stream(pixel_limit="1000", trigger="-1", settle="2.5") == (
        *TOLD, "--settle", "2.5", "--trigger", "-1.0", "--pixel-limit", "1000", *REGION,
    )  # fmt: skip


def test_lists_repeat_and_switches_are_flags() -> None:
    """As the entry's own command line takes them."""
    told = of_stream(backbone=("efficientnet-lite0", "vgg16@128,pooling=flatten"), once=True)
    assert told == (
        *TOLD,
        "--once",
        "--backbone",
        "efficientnet-lite0",
        "--backbone",
        "vgg16@128,pooling=flatten",
        *REGION,
    )
    assert "--full" in arguments.of_refit(REFIT, given(full=True), deployed(), {})
    assert "--full" not in arguments.of_refit(REFIT, given(full=False), deployed(), {})


def test_every_setting_of_a_leg_comes_back_as_it_was_given() -> None:
    """Read by the entry's own rules, from whatever source it came here."""
    values = {
        "landing_access": "requester-pays", "reconcile": "60", "weights": "random:7", "pooling": "max", "fit": "pad",
        "label": "/(?P<label>[^/]+)/", "poll": "5", "batch_pictures": "64", "byte_limit": "5000", "upkeep": "60",
        "skip_extensions": "txt,gif", "decode_seconds": "3", "idle_timeout": "9", "vacuum_days": "7", "audit": "60",
        "lease": "30", "s3_region": "eu-west-1", "spark_conf": "spark.a=b spark.c=d",
    }  # fmt: skip
    resolved = resolve({}, {f"VERGER_{name.upper()}": value for name, value in values.items()})
    told = arguments.of_stream(STREAM, resolved, deployed(), {"spark.a": "b", "spark.c": "d"})[len(TOLD) :]
    pairs = dict(zip(told[::2], told[1::2], strict=True))
    read = resolve({name[2:].replace("-", "_"): value for name, value in pairs.items()}, {}).settings
    assert all(getattr(read, name) == getattr(resolved.settings, name) for name in NAMES)
    assert len(pairs) == len(values)


def test_cores_are_those_of_this_machine() -> None:
    """They stay here, even where verger.toml says how many."""
    assert of_stream(cores="2") == (*TOLD, *REGION)


def test_pictures_are_listed_where_that_is_said() -> None:
    """No queue is needed then."""
    assert of_stream(discover="listing") == ("stream", *PLACES, "--discover", "listing", *REGION)


class TestAnotherLanding:
    """The stack's queue tells of the stack's landing, and whoever reads it for another deletes its messages."""

    def test_it_needs_a_queue_of_its_own(self) -> None:
        """Or a listing."""
        with pytest.raises(
            UsageError, match=r"--landing s3://other .*whose queue tells of its own pictures only: say --q"
        ):
            of_stream("s3://other")
        told = of_stream("s3://other", queue="https://sqs.eu-west-3.amazonaws.com/1/other")
        assert after("--queue", told) == "https://sqs.eu-west-3.amazonaws.com/1/other"
        assert "--queue" not in of_stream("s3://other", discover="listing")

    def test_a_slash_makes_no_other(self) -> None:
        """The place is the same."""
        assert after("--queue", of_stream("s3://landing/")) == OUTPUTS["Queue"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"runtime": "tensorflow"}, r"--runtime tensorflow: there is no TensorFlow in the package"),
        ({"backbone": ("pears.keras",)}, r"--backbone pears\.keras: pears\.keras is a file of this machine"),
        ({"backbone": ("vgg16,weights=mine.h5",)}, r"mine\.h5 is a file of this machine"),
        ({"weights": "/w.weights.h5", "backbone": ("vgg16",)}, r"/w\.weights\.h5 is a file of this machine"),
        ({"backbone": ("vgg99",)}, r"unknown name 'vgg99'"),
        ({"spark_conf": "spark.hadoop.fs.s3a.secret.key=abc"}, r"fs\.s3a\.secret\.key would stand in the job"),
        ({"spark_conf": "memory=4g"}, r"'memory=4g' is not spark\.KEY=VALUE"),
    ],
)
def test_what_cannot_travel_is_refused_in_one_line(flags: dict[str, Any], said: str) -> None:
    """With what to say instead; no secret is repeated."""
    with pytest.raises(UsageError, match=said) as caught:
        of_stream(**flags)
    assert "\n" not in str(caught.value)
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("landing", ["/home/anna/pictures", "pictures", "file:///pictures"])
def test_a_folder_is_no_landing_of_a_job(landing: str) -> None:
    """Its machines do not have it."""
    with pytest.raises(UsageError, match=f"--landing {landing}: the machines of a job do not see it"):
        of_stream(landing)
