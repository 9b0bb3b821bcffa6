"""Prices, measurements and assumptions from one file that a person can edit: `prices.toml`, or a copy of it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from conf.errors import UsageError

OWN = Path(__file__).with_name("prices.toml")
ARCHITECTURES = ("x86_64", "arm64")
# What each price is of. The ones by architecture are tables of both.
UNITS = {
    **{
        f"{name}.{each}": "hours"
        for name in ("primary", "node", "spot", "primary_uplift", "node_uplift")
        for each in ARCHITECTURES
    },
    **{f"vcpu.{each}": "vCPU hours" for each in ARCHITECTURES},
    **{f"memory.{each}": "GB hours" for each in ARCHITECTURES},
    "worker_disk": "GB hours",
    "ebs": "GB months",
    "s3_storage": "GB months",
    "s3_tier1": "requests",
    "s3_tier2": "requests",
    "sqs": "requests",
    "kms_key": "key months",
    "kms_requests": "requests",
    "endpoint": "hours",
    "endpoint_data": "GB",
    "log_ingestion": "GB",
    "log_storage": "GB months",
    "schedules": "invocations",
}


@dataclass(frozen=True)
class Price:
    """What something costs.

    Attributes
    ----------
    name : str
        One of `UNITS`.
    usd : float
        For `per` of the unit.
    per : float
    unit : str
        As `UNITS` has it.
    free : float
        Of the unit, each month.
    source : str
        Where it was found, or what it is of.
    date : str
        Of the price where its source gives one, else the day on which it was read; ISO 8601.
    inferred : str
        How, where it was not found; else empty.
    """

    name: str
    usd: float
    per: float
    unit: str
    free: float
    source: str
    date: str
    inferred: str

    def of(self, quantity: float) -> float:
        """Return the USD that a month's quantity costs."""
        return max(0.0, quantity - self.free) / self.per * self.usd


@dataclass(frozen=True)
class Measured:
    """What Verger was seen to do, by `command`, on `machine`, at `date`.

    Tier 1 and tier 2 are requests to S3 as its bill has them: what writes or lists, and what reads.

    Attributes
    ----------
    idle_tier1_per_hour, idle_tier2_per_hour, idle_queue_per_hour, idle_log_bytes_per_hour : float
        A stream with nothing to do: its lease, its looks at the tables, its polls of the queue.
    batch_tier1, batch_tier2, batch_log_bytes : float
        A micro-batch, less what its files and pictures ask for.
    file_tier1, file_tier2 : float
        A file that a micro-batch writes.
    picture_tier2, picture_queue : float
        A picture: one look, one fetch; messages received and deleted.
    refit_tier1, refit_tier2 : float
        A refit of hardly any rows in some tens of files.
    refit_tier1_per_million, refit_tier2_per_million, full_tier1_per_million, full_tier2_per_million : float
        Rows in large files, of a refit of what changed and of a whole one.
    upkeep_tier1, upkeep_tier2 : float
        A round of upkeep with nothing to merge.
    merged_file_tier1, merged_file_tier2 : float
        A small file that goes into a larger one.
    feature_value_bytes, component_row_bytes, arrival_bytes : float
        A row of features for each of its values; a row of components beside its 4 bytes for each; a row of arrivals.
    full_cpu_seconds, full_cpu_seconds_per_million, refit_cpu_seconds, refit_cpu_seconds_per_million : float
        Of all processes, of a whole refit and of one of what changed, whose new rows are read at a whole one's price.
    """

    command: str
    date: str
    machine: str
    idle_tier1_per_hour: float
    idle_tier2_per_hour: float
    idle_queue_per_hour: float
    idle_log_bytes_per_hour: float
    batch_tier1: float
    batch_tier2: float
    batch_log_bytes: float
    file_tier1: float
    file_tier2: float
    picture_tier2: float
    picture_queue: float
    refit_tier1: float
    refit_tier2: float
    refit_tier1_per_million: float
    refit_tier2_per_million: float
    full_tier1_per_million: float
    full_tier2_per_million: float
    upkeep_tier1: float
    upkeep_tier2: float
    merged_file_tier1: float
    merged_file_tier2: float
    feature_value_bytes: float
    component_row_bytes: float
    arrival_bytes: float
    full_cpu_seconds: float
    full_cpu_seconds_per_million: float
    refit_cpu_seconds: float
    refit_cpu_seconds_per_million: float


@dataclass(frozen=True)
class Assumed:
    """What is decided or supposed; the file says why, beside each.

    Attributes
    ----------
    stream_utilisation, job_utilisation : float
        Share of the executors' time that is work, for a stream and for a job that ends; above 0, at most 1.
    executor_vcpus, executor_gb, driver_vcpus, driver_gb, worker_disk_gb : float
        A worker on EMR Serverless.
    least_executors : float
    job_hours : float
        In which a daily job is to be done: it gets as many executors as that takes.
    start_seconds : float
        From the start of a job until its executors work.
    core_nodes : float
        Of a cluster with a stream: on demand, all month.
    node_vcpus, node_disk_gb : float
        A core or task node; a primary node has half as much disk.
    services_serverless, services_cluster, zones : float
        Interface endpoints: services that need one, and the zones each is in.
    landing_page : float
        Keys in a page of a listing.
    queue_sends : float
        Requests by which S3 tells the queue of a picture.
    queue_gb_per_million : float
        Messages through the endpoint, per million pictures.
    kms_share : float
        Requests to KMS for each to S3, with bucket keys.
    micro_batch_seconds : float
        Work in a full micro-batch.
    batch_tier2 : float
        Requests to read a picture, of a plain batch job.
    """

    stream_utilisation: float
    job_utilisation: float
    executor_vcpus: float
    executor_gb: float
    driver_vcpus: float
    driver_gb: float
    worker_disk_gb: float
    least_executors: float
    job_hours: float
    start_seconds: float
    core_nodes: float
    node_vcpus: float
    node_disk_gb: float
    services_serverless: float
    services_cluster: float
    zones: float
    landing_page: float
    queue_sends: float
    queue_gb_per_million: float
    kms_share: float
    micro_batch_seconds: float
    batch_tier2: float


# Without these there is nothing to divide by.
_POSITIVE = (
    "stream_utilisation", "job_utilisation", "executor_vcpus", "least_executors", "job_hours", "node_vcpus",
    "landing_page", "micro_batch_seconds",
)  # fmt: skip
_SHARES = ("stream_utilisation", "job_utilisation", "kms_share")
_Part = TypeVar("_Part", Measured, Assumed)


@dataclass(frozen=True)
class Book:
    """A file's prices for one region, its measurements and its assumptions."""

    file: str
    region: str
    prices: Mapping[str, Price]
    measured: Measured
    assumed: Assumed

    @property
    def dates(self) -> tuple[str, str]:
        """The oldest date of a price and the newest."""
        found = sorted(each.date for each in self.prices.values())
        return found[0], found[-1]


def read(region: str, file: Path | None = None) -> Book:
    """Read a file of prices.

    Parameters
    ----------
    region
        As AWS names it.
    file
        None: Verger's own.

    Raises
    ------
    UsageError
        The file cannot be read, has no prices for the region, lacks one, or has one that is none; it names which.
    """
    path = file or OWN
    found = _loaded(path)
    regions = found.get("regions")
    if not isinstance(regions, dict) or not regions:
        raise UsageError(f"{path}: has no [regions.NAME] with prices")
    if not isinstance(regions.get(region), dict):
        raise UsageError(
            f"{path} has no prices of {region}, but of {', '.join(sorted(regions))}: take one of these with "
            "--region, or add the prices to a copy and give it with --prices"
        )
    table = regions[region]
    if table.get("currency") != "USD":
        raise UsageError(f'{path}: regions.{region}.currency must be "USD", not {table.get("currency")!r}')
    prices = {name: _price(name, table, f"{path}: regions.{region}.{name}") for name in UNITS}
    return Book(str(path), region, prices, _part(Measured, found, path), _part(Assumed, found, path))


def _loaded(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"--prices {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error


def _price(name: str, table: Mapping[str, Any], where: str) -> Price:
    entry: Any = table
    for part in name.split("."):
        entry = entry.get(part) if isinstance(entry, dict) else None
    if not isinstance(entry, dict):
        raise UsageError(f"{where} is missing: a table with usd, per, unit, source and date")
    unknown = sorted(set(entry) - {each.name for each in fields(Price)} | set(entry) & {"name"})
    if unknown:
        raise UsageError(f"{where} has no {unknown[0]}; it takes usd, per, unit, free, source, date and inferred")
    if entry.get("unit") != UNITS[name]:
        raise UsageError(f'{where}.unit must be "{UNITS[name]}", not {entry.get("unit")!r}')
    usd, free = _number(entry.get("usd"), f"{where}.usd"), _number(entry.get("free", 0), f"{where}.free")
    per = _number(entry.get("per"), f"{where}.per", positive=True)
    source, inferred = (_text(entry.get(key, ""), f"{where}.{key}") for key in ("source", "inferred"))
    if not source:
        raise UsageError(f"{where}.source must say where the price was found, or what it is of")
    return Price(name, usd, per, UNITS[name], free, source, _day(entry.get("date"), f"{where}.date"), inferred)


def _part(kind: type[_Part], found: Mapping[str, Any], path: Path) -> _Part:
    """Return the part of the file that is named as a class, with each of its fields."""
    part = kind.__name__.lower()
    table = found.get(part)
    if not isinstance(table, dict):
        raise UsageError(f"{path}: has no [{part}]")
    values: dict[str, Any] = {}
    for each in fields(kind):
        where = f"{path}: {part}.{each.name}"
        if each.name not in table:
            raise UsageError(f"{where} is missing")
        if each.type == "str":
            values[each.name] = _text(table[each.name], where)
            continue
        values[each.name] = _number(table[each.name], where, positive=each.name in _POSITIVE)
        if each.name in _SHARES and values[each.name] > 1:
            raise UsageError(f"{where} is a share: it must be at most 1, not {table[each.name]!r}")
    return kind(**values)


def _number(value: Any, where: str, *, positive: bool = False) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not usable or value < 0 or (positive and value == 0):
        raise UsageError(f"{where} must be a number {'above' if positive else 'of at least'} 0, not {value!r}")
    return float(value)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where} must be a text, not {value!r}")
    return value


def _day(value: Any, where: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError) as error:
        raise UsageError(f'{where} must be a day, as "2026-11-21", not {value!r}') from error
