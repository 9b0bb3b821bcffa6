"""What Verger costs a month on EMR: usage times prices, of each design on each platform."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bootstrap.emr.billing.prices import ARCHITECTURES, Assumed, Book
from bootstrap.emr.billing.usage import DAYS, DESIGNS, HOURS, Design, Load, Usage, usage
from conf.errors import UsageError

Platform = Literal["serverless", "cluster"]
PLATFORMS: tuple[Platform, ...] = ("serverless", "cluster")
# Each price belongs to one line of a bill.
LINES = {
    "compute": ("primary", "node", "spot", "vcpu", "memory"),
    "emr": ("primary_uplift", "node_uplift"),
    "disks": ("ebs", "worker_disk"),
    "requests": ("s3_tier1", "s3_tier2"),
    "storage": ("s3_storage",),
    "queue": ("sqs",),
    "key": ("kms_key", "kms_requests"),
    "endpoints": ("endpoint", "endpoint_data"),
    "logs": ("log_ingestion", "log_storage"),
    "schedule": ("schedules",),
}
# EMR Serverless gives each worker as much.
_FREE_DISK_GB = 20
# Beyond which a number is a slip of the keyboard, and sums are none any more.
_MOST = 1e15


@dataclass(frozen=True)
class Bill:
    """A month of one design.

    Attributes
    ----------
    design, platform, architecture : str
    usage : Usage
    quantities : mapping of str to float
        By the name of its price.
    lines : mapping of str to float
        USD, by `LINES`.
    """

    design: Design
    platform: Platform
    architecture: str
    usage: Usage
    quantities: Mapping[str, float]
    lines: Mapping[str, float]

    @property
    def total(self) -> float:
        """USD of the month."""
        return sum(self.lines.values())


def bills(loads: Mapping[str, Load], book: Book) -> list[Bill]:
    """Return what a month costs, of each design, platform and architecture.

    Parameters
    ----------
    loads
        By architecture, as each makes pictures at a rate of its own.
    book
        Prices of a region, measurements and assumptions.

    Raises
    ------
    UsageError
        A load is none.
    """
    for load in loads.values():
        _check(load)
    return [
        _bill(design, platform, architecture, loads[architecture], book)
        for design in DESIGNS
        for platform in PLATFORMS
        for architecture in ARCHITECTURES
    ]


def ratios(found: Sequence[Bill]) -> dict[Design, tuple[float, float]]:
    """Return how many times as much the daily full batch costs as each design, on the same machines: least and most."""
    batch = {(each.platform, each.architecture): each.total for each in found if each.design == "batch"}
    spread: dict[Design, tuple[float, float]] = {}
    for design in DESIGNS[:-1]:
        seen = [batch[each.platform, each.architecture] / each.total for each in found if each.design == design]
        spread[design] = min(seen), max(seen)
    return spread


def inferred(found: Sequence[Bill], book: Book) -> list[str]:
    """Return the names of the prices that a bill uses and that were inferred, in the file's order."""
    used = {name for each in found for name, quantity in each.quantities.items() if quantity}
    return [name for name, price in book.prices.items() if price.inferred and name in used]


def _check(load: Load) -> None:
    for name, value in (("--images", load.images), ("--per-day", load.per_day), ("--bytes", load.picture_gb)):
        if not 0 <= value <= _MOST:
            raise UsageError(f"{name} must be from 0 to {_MOST:g}, not {value:g}")
    if not 1 / _MOST <= load.rate <= _MOST:
        raise UsageError(
            f"--rate and --arm-rate must be above 0 pictures a second, not {load.rate:g}: `verger backbone compare` "
            "measures it"
        )
    if load.width < 1 or load.k < 1:
        raise UsageError(f"--width and --components must be at least 1, not {min(load.width, load.k)}")


def _bill(design: Design, platform: Platform, architecture: str, load: Load, book: Book) -> Bill:
    used = usage(design, load, book.measured, book.assumed)
    machines = _serverless if platform == "serverless" else _cluster
    quantities = {
        **machines(used, architecture, book.assumed),
        "s3_tier1": used.tier1,
        "s3_tier2": used.tier2,
        "s3_storage": used.stored_gb,
        "sqs": used.queue,
        "kms_key": 1.0,
        "kms_requests": (used.tier1 + used.tier2) * book.assumed.kms_share,
        "endpoint_data": used.queue_gb,
        "log_ingestion": used.log_gb,
        "log_storage": used.log_gb,
        "schedules": DAYS * len(used.jobs),
    }
    usd = {name: book.prices[name].of(quantity) for name, quantity in quantities.items()}
    lines = {
        line: sum(value for name, value in usd.items() if name.partition(".")[0] in names)
        for line, names in LINES.items()
    }
    return Bill(design, platform, architecture, used, quantities, lines)


def _serverless(used: Usage, architecture: str, assumed: Assumed) -> dict[str, float]:
    drivers, executors = _hours(used)
    disk = max(0.0, assumed.worker_disk_gb - _FREE_DISK_GB)
    # Only a job that asks a queue needs a network of its own.
    services = assumed.services_serverless if used.queue else 0.0
    return {
        f"vcpu.{architecture}": drivers * assumed.driver_vcpus + executors * assumed.executor_vcpus,
        f"memory.{architecture}": drivers * assumed.driver_gb + executors * assumed.executor_gb,
        "worker_disk": (drivers + executors) * disk,
        "endpoint": services * assumed.zones * HOURS,
    }


def _cluster(used: Usage, architecture: str, assumed: Assumed) -> dict[str, float]:
    """Return a primary node, core nodes for the drivers, and spot nodes for the executors.

    Without a stream the cluster lives as long as a job.
    """
    drivers, _ = _hours(used)
    shared = assumed.executor_vcpus / assumed.node_vcpus
    primary = HOURS if used.executors else drivers
    core = assumed.core_nodes * HOURS if used.executors else drivers
    spot = math.ceil(used.executors * shared) * HOURS + _job_hours(used) * shared
    return {
        f"primary.{architecture}": primary,
        f"node.{architecture}": core,
        f"spot.{architecture}": spot,
        f"primary_uplift.{architecture}": primary,
        f"node_uplift.{architecture}": core + spot,
        "ebs": (primary / 2 + core + spot) * assumed.node_disk_gb / HOURS,
        "endpoint": assumed.services_cluster * assumed.zones * HOURS,
    }


def _hours(used: Usage) -> tuple[float, float]:
    """Return the hours of drivers and of executors in a month."""
    drivers = (HOURS if used.executors else 0.0) + DAYS * sum(each.hours for each in used.jobs)
    return drivers, used.executors * HOURS + _job_hours(used)


def _job_hours(used: Usage) -> float:
    """Return the hours of the executors of daily jobs."""
    return DAYS * sum(each.executors * each.hours for each in used.jobs)
