"""What a month of a design uses, whatever it costs: hours of machines, requests, gigabytes.

Designs: a stream that runs all month, or one that drains once a day what has landed (`--once`), each with a refit of
what changed once a day; and, to compare, a plain job: every picture featurized anew and a whole PCA, each day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bootstrap.emr.billing.prices import Assumed, Measured
from conf.settings import Settings

HOURS = 730.0
DAYS = HOURS / 24
Design = Literal["stream", "drain", "batch"]
DESIGNS: tuple[Design, ...] = ("stream", "drain", "batch")
_MILLION = 1e6
_GB = 1e9
# What a lake on S3 rests between two micro-batches (`streaming.stream`).
TRIGGER = 3.0
# Of the embedded network, and of what 90 % of the variance of its features took where the rest was measured.
WIDTH, COMPONENTS = 1280, 138


@dataclass(frozen=True)
class Load:
    """What is asked of a month.

    Attributes
    ----------
    images : float
        Pictures in store; each has features.
    per_day : float
        New ones, evenly over the day.
    rate : float
        Pictures a second that one vCPU makes.
    picture_gb : float
        Of pictures whose storage is to be counted; 0 where it is not.
    width, k : int
        Length of the features, and components.
    trigger, reconcile, upkeep : float
        Seconds between two micro-batches, two listings, and two rounds of upkeep.
    vacuum_days : float
        For which files that no table names are kept.
    """

    images: float
    per_day: float
    rate: float
    picture_gb: float
    width: int
    k: int
    trigger: float
    reconcile: float
    upkeep: float
    vacuum_days: float


def load_of(
    settings: Settings,
    images: float,
    per_day: float,
    rate: float,
    *,
    picture_bytes: float = 0.0,
    width: int = WIDTH,
    k: int = COMPONENTS,
) -> Load:
    """Return what is asked of a month by a stream and a refit with these settings; see `Load`.

    Parameters
    ----------
    settings
        How often a stream looks, lists and keeps up, and for how long VACUUM waits.
    images, per_day, rate
    picture_bytes
        Of a picture whose storage is to be counted; 0: it is not.
    width, k
    """
    return Load(
        images=images,
        per_day=per_day,
        rate=rate,
        picture_gb=images * picture_bytes / _GB,
        width=width,
        k=k,
        trigger=settings.trigger if settings.trigger >= 0 else TRIGGER,
        reconcile=settings.reconcile,
        upkeep=settings.upkeep,
        vacuum_days=settings.vacuum_days,
    )


@dataclass(frozen=True)
class Job:
    """Something that runs once a day: a driver and its executors.

    Attributes
    ----------
    executors : float
        On average: more where the work would not be done in time.
    hours : float
        From its start to its end.
    """

    executors: float
    hours: float


@dataclass(frozen=True)
class Usage:
    """What a design uses in a month, on any platform.

    Attributes
    ----------
    executors : int
        That run all month, with a driver of their own; 0 where none do.
    jobs : tuple of Job
        Once a day each.
    micro_batches : float
    tier1, tier2 : float
        Requests to S3.
    stored_gb : float
    queue : float
        Requests to SQS.
    queue_gb : float
        Through an endpoint.
    log_gb : float
    """

    executors: int
    jobs: tuple[Job, ...]
    micro_batches: float
    tier1: float
    tier2: float
    stored_gb: float
    queue: float
    queue_gb: float
    log_gb: float


def usage(design: Design, load: Load, measured: Measured, assumed: Assumed) -> Usage:
    """Return what a design uses in a month."""
    if design == "batch":
        return _batch(load, measured, assumed)
    return _stream(load, measured, assumed) if design == "stream" else _drain(load, measured, assumed)


def stream_executors(load: Load, assumed: Assumed) -> int:
    """Return the executors of a stream that keeps up with what lands, at the share of their time that is work."""
    vcpus = load.per_day / 86_400 / load.rate / assumed.stream_utilisation
    return math.ceil(max(assumed.least_executors, vcpus / assumed.executor_vcpus))


def micro_batches_a_second(arrivals: float, trigger: float) -> float:
    """Return how many micro-batches a second there are, at a rate of arrivals by chance (Poisson).

    One begins when something is there, `trigger` after the one before at the earliest: a cycle lasts `trigger`, and,
    where nothing came meanwhile (with probability exp(-arrivals x trigger)), until the next arrival.
    """
    if not arrivals:
        return 0.0
    return 1 / (trigger + math.exp(-arrivals * trigger) / arrivals)


def _stream(load: Load, measured: Measured, assumed: Assumed) -> Usage:
    executors = stream_executors(load, assumed)
    arrivals = load.per_day / 86_400
    batches = micro_batches_a_second(arrivals, load.trigger) * 3600 * HOURS
    return _lambda(
        load,
        measured,
        assumed,
        executors=executors,
        jobs=(_refit(load, measured, assumed),),
        batches=batches,
        cores=executors * assumed.executor_vcpus,
        hours=HOURS,
        listings=HOURS * 3600 / load.reconcile,
    )


def _drain(load: Load, measured: Measured, assumed: Assumed) -> Usage:
    """Return what a stream uses that starts once a day, lists the landing, and ends when nothing is left."""
    drain = _job(load.per_day / load.rate, 0, assumed)
    cores = drain.executors * assumed.executor_vcpus
    each_day = max(min(load.per_day, 1.0), load.per_day / (load.rate * cores * assumed.micro_batch_seconds))
    return _lambda(
        load,
        measured,
        assumed,
        executors=0,
        jobs=(drain, _refit(load, measured, assumed)),
        batches=each_day * DAYS,
        cores=cores,
        hours=drain.hours * DAYS,
        listings=DAYS,
    )


def _lambda(
    load: Load,
    measured: Measured,
    assumed: Assumed,
    *,
    executors: int,
    jobs: tuple[Job, ...],
    batches: float,
    cores: float,
    hours: float,
    listings: float,
) -> Usage:
    """Return what features by the stream and a refit of what changed use, however often the stream runs."""
    pictures, millions = load.per_day * DAYS, load.images / _MILLION
    # A micro-batch is dealt out evenly over the cores; each share becomes a file.
    files = min(batches * cores, pictures)
    pages = listings * math.ceil(load.images / assumed.landing_page)
    rounds = max(DAYS, hours * 3600 / load.upkeep)
    tier1 = measured.idle_tier1_per_hour * hours + measured.batch_tier1 * batches + pages
    tier1 += (measured.file_tier1 + measured.merged_file_tier1) * files + measured.upkeep_tier1 * rounds
    tier1 += (measured.refit_tier1 + measured.refit_tier1_per_million * millions) * DAYS
    tier2 = measured.idle_tier2_per_hour * hours + measured.batch_tier2 * batches + measured.picture_tier2 * pictures
    tier2 += (measured.file_tier2 + measured.merged_file_tier2) * files + measured.upkeep_tier2 * rounds
    tier2 += (measured.refit_tier2 + measured.refit_tier2_per_million * millions) * DAYS
    # A refit replaces every row of components, upkeep each small file of features: both lie until VACUUM takes them.
    feature, component = _feature_bytes(load, measured), measured.component_row_bytes + 4 * load.k
    stored = feature * (load.images + load.per_day * load.vacuum_days)
    stored += (component * (1 + load.vacuum_days) + measured.arrival_bytes) * load.images
    log = measured.idle_log_bytes_per_hour * hours + measured.batch_log_bytes * batches
    queue = measured.idle_queue_per_hour * hours + pictures * (measured.picture_queue + assumed.queue_sends)
    return Usage(
        executors=executors,
        jobs=jobs,
        micro_batches=batches,
        tier1=tier1,
        tier2=tier2,
        stored_gb=stored / _GB + load.picture_gb,
        queue=queue,
        queue_gb=assumed.queue_gb_per_million * pictures / _MILLION,
        log_gb=log / _GB,
    )


def _batch(load: Load, measured: Measured, assumed: Assumed) -> Usage:
    """Use as little as a plain job can: one request a picture, large files, one copy of each table, no queue."""
    millions = load.images / _MILLION
    seconds = load.images / load.rate + measured.full_cpu_seconds_per_million * millions
    pages = math.ceil(load.images / assumed.landing_page)
    component = measured.component_row_bytes + 4 * load.k
    return Usage(
        executors=0,
        jobs=(_job(seconds, measured.full_cpu_seconds, assumed),),
        micro_batches=0.0,
        # Features and components are written and read by the files of a whole refit.
        tier1=DAYS * (pages + measured.refit_tier1 + 2 * measured.full_tier1_per_million * millions),
        tier2=DAYS * (assumed.batch_tier2 * load.images + measured.full_tier2_per_million * millions),
        stored_gb=(_feature_bytes(load, measured) + component) * load.images / _GB + load.picture_gb,
        queue=0.0,
        queue_gb=0.0,
        log_gb=0.0,
    )


def _refit(load: Load, measured: Measured, assumed: Assumed) -> Job:
    seconds = measured.refit_cpu_seconds_per_million * load.images / _MILLION
    seconds += measured.full_cpu_seconds_per_million * load.per_day / _MILLION
    return _job(seconds, measured.refit_cpu_seconds, assumed)


def _job(seconds: float, fixed: float, assumed: Assumed) -> Job:
    """Return a job of so many vCPU seconds that can be shared out, and some that cannot."""
    needed = seconds / assumed.job_utilisation / 3600 / assumed.executor_vcpus
    executors = max(assumed.least_executors, needed / assumed.job_hours)
    return Job(executors, (assumed.start_seconds + fixed) / 3600 + needed / executors)


def _feature_bytes(load: Load, measured: Measured) -> float:
    return measured.feature_value_bytes * load.width
