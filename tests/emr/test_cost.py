"""What Verger costs a month on EMR: sums that can be done by hand, and what must hold for any load."""

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from bootstrap import cli
from bootstrap.emr import account
from bootstrap.emr.billing import prices
from bootstrap.emr.billing.cost import LINES, Bill, bills, inferred, ratios
from bootstrap.emr.billing.usage import (
    DAYS,
    DESIGNS,
    HOURS,
    TRIGGER,
    Load,
    micro_batches_a_second,
    stream_executors,
    usage,
)
from conf.errors import UsageError
from streaming import stream
from tests.cli.test_command_line import VERGER, one_line
from tests.emr import book

OWN = prices.read(account.REGION)
LOAD = Load(
    images=1_000_000, per_day=86_400, rate=10, picture_gb=0, width=1280, k=100, trigger=3, reconcile=21_600,
    upkeep=3_600, vacuum_days=14,
)  # fmt: skip
IMAGES = st.floats(0, 1e10)
A_DAY = st.floats(0, 1e8)
RATES = st.floats(0.1, 1e4)


def billed(load: Load, found: prices.Book = OWN) -> list[Bill]:
    """Give the bills of one load on both architectures."""
    return bills(dict.fromkeys(prices.ARCHITECTURES, load), found)


def bill(found: Iterable[Bill], design: str, platform: str, architecture: str = "x86_64") -> Bill:
    """Give the one that is meant."""
    (one,) = (
        each for each in found if (each.design, each.platform, each.architecture) == (design, platform, architecture)
    )
    return one


@pytest.fixture
def round_numbers(tmp_path: Path) -> prices.Book:
    """Prices and measurements of which each sum below can be done in the head."""
    path = book.file(
        tmp_path,
        prices={"s3_tier1": {"per": 1e3}, "s3_tier2": {"per": 1e6}, "sqs": {"per": 1e6, "free": 1e6}},
        assumed={
            "executor_vcpus": 2, "executor_gb": 4, "driver_vcpus": 1, "driver_gb": 3, "worker_disk_gb": 30,
            "job_hours": 5, "start_seconds": 0, "node_vcpus": 4, "core_nodes": 2, "landing_page": 1000,
            "queue_sends": 0, "queue_gb_per_million": 0, "kms_share": 0,
        },
        measured={"feature_value_bytes": 2, "idle_queue_per_hour": 10_000, "idle_tier1_per_hour": 1000},
    )  # fmt: skip
    return prices.read(book.REGION, path)


def test_a_daily_batch_by_hand(round_numbers: prices.Book) -> None:
    """A million pictures at 10 a second: 100,000 vCPU seconds, which 5.6 executors of 2 vCPU do in 5 hours."""
    load = replace(LOAD, images=1_000_000)
    found = bill(billed(load, round_numbers), "batch", "serverless")
    vcpu_hours = 1_000_000 / 10 / 3600
    assert found.usage.jobs[0].hours == pytest.approx(5)
    assert found.usage.jobs[0].executors == pytest.approx(vcpu_hours / 5 / 2)
    assert found.quantities["vcpu.x86_64"] == pytest.approx(DAYS * (vcpu_hours + 5 * 1))
    assert found.quantities["memory.x86_64"] == pytest.approx(DAYS * (vcpu_hours / 2 * 4 + 5 * 3))
    # 10 GB over what is free.
    assert found.lines["disks"] == pytest.approx(DAYS * (vcpu_hours / 2 + 5) * 10)
    assert found.lines["compute"] == pytest.approx(found.quantities["vcpu.x86_64"] + found.quantities["memory.x86_64"])
    # A thousand pages a day at 1 USD a thousand; a million reads a day at 1 USD a million.
    assert found.lines["requests"] == pytest.approx(DAYS * (1 + 1))
    # 2 bytes for each of 1,280 values, and 4 for each of 100 components.
    assert found.lines["storage"] == pytest.approx((2 * 1280 + 4 * 100) * 1e6 / 1e9)
    assert (found.lines["queue"], found.lines["endpoints"], found.lines["logs"], found.lines["emr"]) == (0, 0, 0, 0)
    assert found.lines["key"] == 1


def test_a_stream_on_a_cluster_by_hand(round_numbers: prices.Book) -> None:
    """One picture a second at 10 on a vCPU: one executor of 2, on one Spot node of 4 beside a primary and two cores."""
    load = replace(LOAD, images=0, per_day=86_400)
    found = bill(billed(load, round_numbers), "stream", "cluster", "arm64")
    assert found.usage.executors == 1
    assert found.quantities["primary.arm64"] == HOURS
    assert found.quantities["node.arm64"] == 2 * HOURS
    assert found.quantities["spot.arm64"] == HOURS
    assert found.lines["compute"] == found.lines["emr"] == 4 * HOURS
    # 1 GB on a node, half of it on the primary one.
    assert found.lines["disks"] == pytest.approx(3.5)
    assert found.lines["endpoints"] == HOURS
    # 7.3 million polls, of which a million are free, at 1 USD a million.
    assert found.lines["queue"] == pytest.approx(6.3)
    # 730,000 looks at the lake and no listing of an empty landing, at 1 USD a thousand.
    assert found.lines["requests"] == pytest.approx(730)
    # Two weeks of what upkeep has merged.
    assert found.lines["storage"] == pytest.approx(14 * 86_400 * 2 * 1280 / 1e9)


def test_the_lines_are_the_total_and_each_price_stands_in_one() -> None:
    """Nothing is counted twice or lost."""
    for each in billed(LOAD):
        assert set(each.lines) == set(LINES)
        assert each.total == pytest.approx(sum(OWN.prices[name].of(many) for name, many in each.quantities.items()))
    placed = [name for names in LINES.values() for name in names]
    assert sorted(placed) == sorted({name.partition(".")[0] for name in prices.UNITS})


def test_there_is_a_bill_for_each_design_platform_and_architecture() -> None:
    """And each uses prices of its own architecture only."""
    found = billed(LOAD)
    assert len({(each.design, each.platform, each.architecture) for each in found}) == len(found) == 12
    for each in found:
        other = "arm64" if each.architecture == "x86_64" else "x86_64"
        assert not [name for name in each.quantities if name.endswith(other)]


@settings(max_examples=60)
@given(images=IMAGES, more=IMAGES, a_day=A_DAY, rate=RATES)
def test_more_pictures_in_store_never_cost_less(images: float, more: float, a_day: float, rate: float) -> None:
    """Whatever the design and the machines."""
    few = billed(replace(LOAD, images=images, per_day=a_day, rate=rate))
    many = billed(replace(LOAD, images=images + more, per_day=a_day, rate=rate))
    assert all(one.total <= other.total * (1 + 1e-9) for one, other in zip(few, many, strict=True))


@settings(max_examples=60)
@given(images=IMAGES, a_day=A_DAY, more=A_DAY, rate=RATES)
def test_more_pictures_a_day_never_cost_less(images: float, a_day: float, more: float, rate: float) -> None:
    """Whatever the design and the machines."""
    few = billed(replace(LOAD, images=images, per_day=a_day, rate=rate))
    many = billed(replace(LOAD, images=images, per_day=a_day + more, rate=rate))
    assert all(one.total <= other.total * (1 + 1e-9) for one, other in zip(few, many, strict=True))


@settings(max_examples=60)
@given(images=IMAGES, a_day=A_DAY, rate=RATES)
def test_twice_the_rate_never_costs_more(images: float, a_day: float, rate: float) -> None:
    """Half the work on the same machines."""
    slow = billed(replace(LOAD, images=images, per_day=a_day, rate=rate))
    fast = billed(replace(LOAD, images=images, per_day=a_day, rate=2 * rate))
    assert all(one.total <= other.total * (1 + 1e-9) for one, other in zip(fast, slow, strict=True))


@given(a_day=A_DAY, rate=RATES)
def test_a_stream_has_the_vcpus_that_its_pictures_need(a_day: float, rate: float) -> None:
    """With room to spare, and no more than an executor above that or the least."""
    assumed = OWN.assumed
    has = stream_executors(replace(LOAD, per_day=a_day, rate=rate), assumed)
    needs = a_day / 86_400 / rate
    assert has * assumed.executor_vcpus * assumed.stream_utilisation >= needs * (1 - 1e-9)
    assert has <= max(assumed.least_executors, needs / assumed.stream_utilisation / assumed.executor_vcpus + 1)


@given(images=IMAGES, a_day=A_DAY, rate=RATES)
def test_a_job_does_its_work_in_time(images: float, a_day: float, rate: float) -> None:
    """Its executors' hours hold what is to be done, within the hours that it is given."""
    load = replace(LOAD, images=images, per_day=a_day, rate=rate)
    (job,) = usage("batch", load, OWN.measured, OWN.assumed).jobs
    assert job.executors * job.hours * OWN.assumed.executor_vcpus * 3600 >= images / rate * (1 - 1e-9)
    fixed = (OWN.assumed.start_seconds + OWN.measured.full_cpu_seconds) / 3600
    assert job.hours <= OWN.assumed.job_hours + fixed + 1e-9


@pytest.mark.parametrize(
    ("arrivals", "batches"),
    [
        (0.0, 0.0),
        # One each, as they hardly ever come together; then one each trigger, as something has always come.
        (1e-5, 1e-5),
        (100.0, 1 / 3),
    ],
)
def test_micro_batches_follow_the_arrivals_up_to_the_trigger(arrivals: float, batches: float) -> None:
    """By renewal: a trigger, and what nothing came for."""
    assert micro_batches_a_second(arrivals, 3) == pytest.approx(batches, rel=1e-3)


def test_the_trigger_is_that_of_a_lake_on_s3() -> None:
    """The stream's own, said here again as its module brings Spark with it."""
    assert stream._TRIGGER[True] == TRIGGER


def test_the_drain_has_the_streams_storage_and_less_of_its_requests() -> None:
    """A design differs only in what it does."""
    found = billed(LOAD)
    always, daily = (bill(found, design, "serverless") for design in ("stream", "drain"))
    assert always.lines["storage"] == daily.lines["storage"]
    assert daily.lines["requests"] < always.lines["requests"]
    assert daily.lines["compute"] < always.lines["compute"]


def test_the_ratios_are_of_the_same_machines(round_numbers: prices.Book) -> None:
    """The least and the most of four."""
    found = billed(LOAD, round_numbers)
    for design, (least, most) in ratios(found).items():
        each = [
            bill(found, "batch", platform, architecture).total / bill(found, design, platform, architecture).total
            for platform in ("serverless", "cluster")
            for architecture in prices.ARCHITECTURES
        ]
        assert (least, most) == (min(each), max(each))
    assert set(ratios(found)) == set(DESIGNS) - {"batch"}


def test_a_price_that_was_inferred_is_told_where_it_is_used(tmp_path: Path) -> None:
    """And not where its quantity is 0."""
    guessed = {"inferred": "guessed"}
    found = prices.read(
        book.REGION,
        book.file(tmp_path, prices={"worker_disk": guessed, "sqs": guessed}, assumed={"worker_disk_gb": 20}),
    )
    assert inferred(billed(LOAD, found), found) == ["sqs"]


@pytest.mark.parametrize(
    ("differing", "named"),
    [
        ({"images": -1.0}, "--images must be from 0 to 1e+15, not -1"),
        ({"images": float("inf")}, "--images must be from 0 to 1e+15, not inf"),
        ({"per_day": -0.5}, "--per-day must be from 0 to 1e+15, not -0.5"),
        ({"picture_gb": float("nan")}, "--bytes must be from 0 to"),
        (
            {"rate": 0.0},
            "--rate and --arm-rate must be above 0 pictures a second, not 0: `verger backbone compare` measures it",
        ),
        ({"rate": -2.0}, "--rate and --arm-rate must be above 0 pictures a second, not -2"),
        ({"width": 0}, "--width and --components must be at least 1, not 0"),
    ],
)
def test_a_load_that_is_none_is_refused(differing: dict[str, Any], named: str) -> None:
    """By the flag's name."""
    with pytest.raises(UsageError) as refused:
        billed(replace(LOAD, **differing))
    assert str(refused.value).startswith(named)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave every setting of this machine behind; return the working directory."""
    for name in [each for each in os.environ if each.startswith(("VERGER_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cost(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli.built(), ["emr", "cost", *arguments])


def test_the_command_prints_a_table_and_what_it_rests_on(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve rows; the cheapest; the ratio; region, dates, and what was inferred."""
    monkeypatch.setenv("COLUMNS", "200")
    done = cost("--images", "1e6", "--per-day", "3333", "--rate", "50")
    assert done.exit_code == 0, done.exception
    designs = [line.split("   ")[0] for line in done.stdout.splitlines()[1:13]]
    assert designs == [name for name in ("stream", "daily drain", "daily full batch") for _ in range(4)]
    best = min(billed(replace(LOAD, images=1e6, per_day=3333, rate=50, k=138)), key=lambda each: each.total)
    assert f"Cheapest: daily drain, Serverless, arm64: {best.total:,.2f} USD a month." in done.stdout
    assert "a stream costs " in done.stdout
    assert "a daily full batch costs " in done.stdout
    assert "Prices of eu-west-3 in USD" in done.stdout
    assert "arm64 taken to be as fast" in done.stdout
    assert "Not found, but inferred: " in done.stdout


def test_the_command_prints_every_number_as_json(nowhere: Path) -> None:
    """By the file, the region, the settings and the rates that were given."""
    path = book.file(nowhere)
    done = cost(
        "--images", "1e6", "--per-day", "3333", "--rate", "50", "--arm-rate", "25", "--prices", str(path),
        "--region", book.REGION, "--bytes", "12000", "--width", "512", "--vacuum-days", "7", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert found["loads"]["arm64"] == found["loads"]["x86_64"] | {"rate": 25}
    load = replace(LOAD, images=1e6, per_day=3333, rate=50, k=138, picture_gb=12, width=512, vacuum_days=7)
    expected = bills({"x86_64": load, "arm64": replace(load, rate=25)}, prices.read(book.REGION, path))
    assert [each["total"] for each in found["bills"]] == pytest.approx([each.total for each in expected])
    assert (found["region"], found["currency"], found["inferred"]) == (book.REGION, "USD", {})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--rate", "5", "--region", "mars-1"), "no prices of mars-1"),
        (("--rate", "5", "--prices", "none.toml"), "--prices none.toml: No such file"),
        (("--rate", "5", "--arm-rate", "-5"), "--arm-rate"),
    ],
)
def test_the_command_refuses_what_it_cannot_reckon_with(nowhere: Path, arguments: tuple[str, ...], named: str) -> None:
    """By the flag's name."""
    done = cost("--images", "1", "--per-day", "1", *arguments)
    assert isinstance(done.exception, UsageError)
    assert named in str(done.exception)


def test_a_refusal_is_one_line_and_exit_code_2(nowhere: Path) -> None:
    """As of every command."""
    words = [*VERGER, "emr", "cost", "--images", "1", "--per-day", "1", "--rate", "0"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "--rate and --arm-rate must be above 0" in one_line(done.stderr)
