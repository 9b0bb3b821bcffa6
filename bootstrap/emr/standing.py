"""How a deployment stands: the jobs beside the lake's own status, as facts and as a person sees them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape

import verger
from bootstrap import standing as of_lake
from bootstrap.emr import running
from bootstrap.emr.deployment import Deployment
from bootstrap.emr.jobs import name_of
from bootstrap.emr.runs import Platform, Run
from bootstrap.terminal import grid, plain, standard_output
from conf.errors import VergerError
from conf.settings import Settings
from streaming.totals import duration


def _status(lake: str, settings: Settings) -> dict[str, Any]:
    return verger.open(lake).status(settings)


def found(
    where: Platform,
    deployment: Deployment,
    settings: Settings,
    status: Callable[[str, Settings], dict[str, Any]] = _status,
) -> dict[str, Any]:
    """Return how a deployment stands.

    Parameters
    ----------
    where, deployment
    settings
        When its lake is unwell.
    status
        Reads the lake's own status.

    Returns
    -------
    dict
        `stack`, `region`, `platform`, `id`, `package`; `stream` and `refit`, the newest run of each or None;
        `spark_ui`, the URL of the stream's pages, and `spark_ui_missing`, why there is none; `lake`, its status as
        `verger status --json` gives it, or None with `lake_missing`, why not; `well` and `unwell`, the reasons.
    """
    stream, refit = (_looked(where, name_of(leg)) for leg in ("stream", "refit"))
    page, no_page = running.pages_of(where, stream) if stream else ("", "nothing has run")
    lake, no_lake = _lake(deployment.lake, settings, status)
    unwell = [*_unwell(stream, deployment.drained), *([no_lake] if lake is None else lake["unwell"])]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "stack": deployment.stack,
        "region": deployment.region,
        "platform": deployment.kind,
        "id": deployment.id,
        "package": deployment.package,
        "stream": _told(stream),
        "refit": _told(refit),
        "spark_ui": page,
        "spark_ui_missing": no_page,
        "lake": lake,
        "lake_missing": no_lake,
        "well": not unwell,
        "unwell": unwell,
    }


def show(found: Mapping[str, Any]) -> None:
    """Print what `found` gave; why it is unwell, on standard error."""
    facts = grid(None, "", "")
    facts.add_row("stack", f"{escape(found['stack'])} in {found['region']}")
    facts.add_row(found["platform"], escape(found["id"]))
    facts.add_row("package", escape(found["package"] or "none"))
    now = datetime.fromisoformat(found["at"])
    for leg in ("stream", "refit"):
        facts.add_row(f"{leg} job", escape(_line(found[leg], now)))
    facts.add_row("Spark's pages", escape(found["spark_ui"] or f"none: {found['spark_ui_missing']}"))
    standard_output().print(facts)
    if found["lake"] is not None:
        of_lake.status(found["lake"])
    for reason in found["unwell"]:
        plain(f"verger: unwell: {reason}", sys.stderr)


def _looked(where: Platform, name: str) -> Run | None:
    run = where.newest(name)
    return None if run is None else where.look(run)


def _lake(
    lake: str, settings: Settings, status: Callable[[str, Settings], dict[str, Any]]
) -> tuple[dict[str, Any] | None, str]:
    try:
        return status(lake, settings), ""
    except VergerError as error:
        return None, str(error)


def _unwell(stream: Run | None, drained: bool) -> list[str]:
    if stream is None:
        return [] if drained else ["no stream was ever submitted"]
    why = f" ({stream.detail})" if stream.detail else ""
    if drained:
        fine = stream.active or stream.succeeded
        return [] if fine else [f"the landing was not drained: {stream.id} is {stream.state}{why}"]
    return [] if stream.running else [f"the stream does not run: {stream.id} is {stream.state}{why}"]


def _told(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {**asdict(run), "since": run.since and run.since.astimezone(UTC).isoformat(timespec="seconds")}


def _line(run: Mapping[str, Any] | None, now: datetime) -> str:
    if run is None:
        return "none"
    parts = [f"{run['id']} {run['state']}"]
    if run["since"]:
        passed = (now - datetime.fromisoformat(run["since"])).total_seconds()
        parts.append(f"since {run['since']}, {duration(max(0.0, passed))} ago")
    if run["attempt"]:
        parts.append(f"attempt {run['attempt']}")
    if run["vcpu_hours"] is not None and run["gb_hours"] is not None:
        parts.append(f"{run['vcpu_hours']:,.1f} vCPU-hours, {run['gb_hours']:,.1f} GB-hours")
    return "; ".join(parts)
