"""What a person sees of `verger status`: the lake's facts in a grid, and why it is unwell."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from bootstrap.terminal import grid, plain, rejections, standard_output
from streaming.totals import duration


def status(found: Mapping[str, Any]) -> None:
    """Print `Lake.status`."""
    console = standard_output()
    facts = grid(None, "", "")
    facts.add_row("lake", escape(found["lake"]))
    for leg in ("stream", "refit"):
        facts.add_row(leg, escape(_holder(found[leg])))
    facts.add_row("arrivals", f"{found['arrivals']:,}")
    report = found["last_report"] or {}
    for why, count in sorted(report.get("passed_over", {}).items()):
        facts.add_row(escape(f"passed over, {why.replace('_', ' ')}"), f"{count:,}")
    now = datetime.fromisoformat(found["at"])
    for each in found["featurizers"]:
        _featurizer(facts, each, now)
    for name, size in found["tables"].items():
        facts.add_row(f"table {name}", f"{size['files']:,} files, {size['bytes'] / 1e6:,.1f} MB")
    facts.add_row("last report", escape(_ago(report.get("at"), now)))
    if report.get("upkeep_at"):
        facts.add_row("last upkeep", escape(_ago(report["upkeep_at"], now)))
    takedowns = found["takedowns"]
    if takedowns["executed"]:
        facts.add_row("takedowns", f"{takedowns['executed']:,}, files deleted from {takedowns['physical_after']} on")
    if found["checkpoints_set_aside"]:
        facts.add_row("checkpoints set aside", f"{found['checkpoints_set_aside']:,}")
    facts.add_row("well", "yes" if found["well"] else "no")
    console.print(facts)
    for each in found["featurizers"]:
        if each["rejections"]:
            console.print(rejections(each["rejections"]))


def unwell(found: Mapping[str, Any]) -> None:
    """Say on standard error why a lake is unwell, a line for each reason."""
    for reason in found["unwell"]:
        plain(f"verger: unwell: {reason}", sys.stderr)


def _featurizer(facts: Table, each: Mapping[str, Any], now: datetime) -> None:
    """Add what is known of a featurizer."""
    facts.add_row("featurizer", escape(each["featurizer"]))
    if each["state"]:
        facts.add_row("  state", escape(each["state"]))
    share = f", {each['rejected'] / each['outcomes']:.1%}" if each["rejected"] else ""
    facts.add_row("  outcomes", f"{each['outcomes']:,}")
    facts.add_row("  with features", f"{each['with_features']:,}")
    facts.add_row("  rejected", f"{each['rejected']:,}{share}")
    facts.add_row("  backlog", f"{each['backlog']:,}")
    facts.add_row("  last outcome", _ago(each["last_outcome_at"], now))
    if each["pictures_per_second"] is not None:
        facts.add_row("  last micro-batches", f"{each['pictures_per_second']:,.1f} img/s")
        p50, p95 = duration(each["freshness_p50"]), duration(each["freshness_p95"])
        facts.add_row("  freshness", f"p50 {p50}, p95 {p95}")
    if each["model"]:
        _model(facts, each["model"], now)


def _model(facts: Table, model: Mapping[str, Any], now: datetime) -> None:
    facts.add_row("  model", escape(model["model"]))
    if model["age_seconds"] is not None:
        made = f"{model['k']:,} components of {model['n']:,} pictures, {duration(model['age_seconds'])} old"
        facts.add_row("    made", made)
    since = model["outcomes_since"]
    more = "" if since is None else f"; {since:,} outcomes since"
    facts.add_row("    published", f"{_ago(model['published_at'], now)}{more}")


def _ago(text: str | None, now: datetime) -> str:
    """Return a moment with how long ago it was, or what was there instead of one."""
    try:
        passed = (now - datetime.fromisoformat(str(text)).astimezone(UTC)).total_seconds()
    except ValueError:
        return str(text or "never")
    return f"{text}, {duration(max(0.0, passed))} ago"


def _holder(held: Mapping[str, Any] | None) -> str:
    if held is None:
        return "not running"
    return f"process {held.get('pid')} on {held.get('host')} since {held.get('since')}" if held else "running"
