"""How a person, or a program, reads what Verger costs: a table with its assumptions, or JSON."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence

from bootstrap.emr.billing.cost import LINES, Bill, inferred, ratios
from bootstrap.emr.billing.prices import Book
from bootstrap.emr.billing.usage import DAYS, Design, Load
from bootstrap.terminal import grid, plain, standard_output

NAMES: Mapping[Design, str] = {"stream": "stream", "drain": "daily drain", "batch": "daily full batch"}
PLATFORM_NAMES: Mapping[str, str] = {"serverless": "Serverless", "cluster": "EC2 cluster"}
_COLUMNS = {"compute": "compute", "emr": "EMR", "disks": "disks", "requests": "S3 requests", "storage": "S3 storage"}


def show(found: Sequence[Bill], loads: Mapping[str, Load], book: Book, as_json: bool) -> None:
    """Print bills: as a table with what it rests on, or as one JSON object."""
    if as_json:
        print(json.dumps(_values(found, loads, book)))
        return
    table = grid(None, "design", "on", "processor", "executors", "USD a month", *_COLUMNS.values(), "other")
    for each in found:
        main = [each.lines[line] for line in _COLUMNS]
        other = sum(usd for line, usd in each.lines.items() if line not in _COLUMNS)
        cells = (f"{usd:,.2f}" for usd in (each.total, *main, other))
        table.add_row(NAMES[each.design], PLATFORM_NAMES[each.platform], each.architecture, _executors(each), *cells)
    standard_output().print(table)
    for line in (*_verdict(found), *_basis(found, loads, book)):
        plain(line)


def _executors(bill: Bill) -> str:
    if bill.usage.executors:
        return f"{bill.usage.executors:,}, all month"
    hours, most = sum(each.hours for each in bill.usage.jobs), max(each.executors for each in bill.usage.jobs)
    return f"{math.ceil(most):,}, {f'{hours:.1f} h' if hours >= 1 else f'{60 * hours:.0f} min'} a day"


def _verdict(found: Sequence[Bill]) -> list[str]:
    best = min(found, key=lambda each: each.total)
    said = [
        "stream: all month; daily drain: `verger stream --once`; both with a refit of what changed once a day. "
        "daily full batch: every picture featurized anew and a whole PCA each day, as a plain job does.",
        f"Cheapest: {NAMES[best.design]}, {PLATFORM_NAMES[best.platform]}, {best.architecture}: "
        f"{best.total:,.2f} USD a month. A stream gives a picture its features in seconds, the others within a day.",
    ]
    for design, (least, most) in ratios(found).items():
        name, batch = NAMES[design], NAMES["batch"]
        if most < 1:
            name, batch, least, most = batch, name, 1 / most, 1 / least
        spread = " to ".join(dict.fromkeys(map(_times, (least, most))))
        said.append(f"On the same machines a {batch} costs {spread} times as much as a {name}.")
    return said


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2g}"


def _basis(found: Sequence[Bill], loads: Mapping[str, Load], book: Book) -> list[str]:
    x86, arm = loads["x86_64"], loads["arm64"]
    assumed, measured = book.assumed, book.measured
    oldest, newest = book.dates
    arm_rate = "arm64 taken to be as fast" if arm.rate == x86.rate else f"{arm.rate:g} on arm64"
    reasons: dict[str, list[str]] = {}
    for name in inferred(found, book):
        reasons.setdefault(book.prices[name].inferred, []).append(name)
    supposed = [f"{', '.join(names)} ({why})" for why, names in reasons.items()]
    return [
        f"For {x86.images:,.0f} pictures in store and {x86.per_day:,.0f} new ones a day, spread evenly; "
        f"{x86.rate:g} pictures a second on a vCPU ({arm_rate}); {x86.width:,} features, {x86.k:,} components.",
        f"Executors of {assumed.executor_vcpus:g} vCPU and {assumed.executor_gb:g} GB, at least "
        f"{assumed.least_executors:g}; a stream's work for {assumed.stream_utilisation:.0%} of their time, a job's for "
        f"{assumed.job_utilisation:.0%}, in {assumed.job_hours:g} hours. On a cluster they are on Spot nodes.",
        "Other: SQS, KMS, interface endpoints, logs, schedules. "
        + ("Storage of the pictures is counted." if x86.picture_gb else "Storage of the pictures is not counted."),
        f"Requests, bytes and CPU seconds measured on {measured.date} by `{measured.command}` ({measured.machine}).",
        f"Prices of {book.region} in USD, without tax, of {oldest} to {newest}: {book.file} (--prices for a copy).",
        *([f"Not found, but inferred: {'; '.join(supposed)}."] if supposed else []),
    ]


def _values(found: Sequence[Bill], loads: Mapping[str, Load], book: Book) -> dict[str, object]:
    oldest, newest = book.dates
    return {
        "region": book.region,
        "currency": "USD",
        "prices_from": oldest,
        "prices_to": newest,
        "inferred": {name: book.prices[name].inferred for name in inferred(found, book)},
        "loads": {name: dataclasses.asdict(load) for name, load in loads.items()},
        "assumed": dataclasses.asdict(book.assumed),
        "measured": dataclasses.asdict(book.measured),
        "days": DAYS,
        "lines": list(LINES),
        "bills": [
            {
                "design": each.design,
                "platform": each.platform,
                "architecture": each.architecture,
                "total": each.total,
                "lines": dict(each.lines),
                "quantities": dict(each.quantities),
                "usage": dataclasses.asdict(each.usage),
            }
            for each in found
        ],
        "batch_costs_times": ratios(found),
    }
