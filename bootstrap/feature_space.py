"""What a person sees of the feature space: refits, models, the view, neighbours, the demo; as text, or as JSON."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.markup import escape

from batch.own_labels import lacking
from bootstrap.terminal import grid, plain, rejections, standard_output

if TYPE_CHECKING:
    from batch.model import Model
    from batch.refit import Refit
    from bootstrap.demo import Shown

_AXES = 10
_LABELS = 10
_SHOWN_COMPONENTS = 3


def refitted(done: Refit, as_json: bool) -> None:
    """Print how a refit ended."""
    if as_json:
        print(json.dumps(_facts(done), indent=2, default=str))
        return
    print(done.sentence)
    for note in done.notes:
        print(note)
    if done.written and done.model is not None and done.model.drift:
        print(drift_line(done.model.drift))


def drift_line(drift: Mapping[str, Any]) -> str:
    """Return a drift report as one line."""
    parts = [f"since {drift['since']}"]
    if drift["new"] is not None:
        parts.append(f"{drift['new']:,} new pictures, {drift['old']:,} as before")
    parts.append(
        f"means moved by {drift['mean_shift']:.2g} standard deviations (at most {drift['mean_shift_max']:.2g})"
    )
    if drift["principal_angles"]:
        parts.append(f"half of the axes turned by less than {statistics.median(drift['principal_angles']):.2g}°")
    if drift["error_old"] is not None:
        whose = "all" if drift["old"] is None else "the old"
        lost = f"off the axes: {100 * drift['error_old']:.1f} % of {whose}"
        parts.append(
            lost + (f", {100 * drift['error_new']:.1f} % of the new" if drift["error_new"] is not None else "")
        )
    return "; ".join(parts)


def models(found: pa.Table, as_json: bool) -> None:
    """Print `Lake.models`: a table, or one JSON object a line."""
    if as_json:
        for row in found.to_pylist():
            print(json.dumps(row, default=_plain))
        return
    table = grid(None, "model", "pictures", "components", "variance", "")
    for row in found.to_pylist():
        table.add_row(
            row["model"],
            f"{row['n']:,}",
            f"{row['k']:,} of {row['width']:,}",
            f"{100 * sum(row['explained_variance_ratio']):.1f} %",
            "published" if row["published"] else "",
        )
    standard_output().print(table)


def model(shown: Model, as_json: bool) -> None:
    """Print a model: how it was made, what its axes explain, what changed since the one before."""
    if as_json:
        print(json.dumps(_described(shown), indent=2, default=_plain))
        return
    console = standard_output()
    facts = grid(None, "", "")
    for name, value in _described(shown).items():
        if not isinstance(value, list | dict):
            facts.add_row(name.replace("_", " "), escape(str(value)))
    for name, value in shown.run_card.items():
        facts.add_row(f"run: {name}", escape(json.dumps(value) if isinstance(value, dict | list) else str(value)))
    console.print(facts)
    axes = grid(f"the first {min(_AXES, shown.k)} of {shown.k} axes", "axis", "variance", "share", "sum")
    shares = shown.explained_variance_ratio
    for place in range(min(_AXES, shown.k)):
        total = shares[: place + 1].sum()
        axes.add_row(
            f"c{place + 1}",
            f"{shown.explained_variance[place]:.3f}",
            f"{100 * shares[place]:.2f} %",
            f"{100 * total:.2f} %",
        )
    console.print(axes)
    if shown.drift:
        console.print(escape(drift_line(shown.drift)))
        _labels(console, shown.drift["labels"])


def view(found: pa.Table, rows: int, as_json: bool) -> None:
    """Print the beginning of the view, or all of it as one JSON object a line."""
    part = found.slice(0, rows) if rows else found
    if as_json:
        for row in part.to_pylist():
            print(json.dumps(row, default=_plain))
        return
    counts = {each["values"]: each["counts"] for each in found["source"].value_counts().to_pylist()}
    name = found["model"][0].as_py() if found.num_rows else "no model"
    console = standard_output()
    console.print(
        f"{found.num_rows:,} pictures on the axes of {name}: {counts.get('batch', 0):,} as the refit published them, "
        f"{counts.get('provisional', 0):,} provisional"
    )
    first = pc.list_value_length(found["components"])[0].as_py() if found.num_rows else 0
    axes = [f"c{place + 1}" for place in range(min(_SHOWN_COMPONENTS, first))]
    table = grid(None, "source", "label", *axes, "picture")
    for row in part.to_pylist():
        numbers = [f"{each:.3f}" for each in row["components"][:_SHOWN_COMPONENTS]]
        table.add_row(row["source"], escape(row["label"] or ""), *numbers, escape(row["uri"]))
    console.print(table)


def similar(found: pa.Table, as_json: bool) -> None:
    """Print `Lake.similar`: a table, or one JSON object a line."""
    if as_json:
        for row in found.to_pylist():
            print(json.dumps(row))
        return
    table = grid(None, "distance", "label", "picture")
    for row in found.to_pylist():
        table.add_row(f"{row['distance']:.4g}", escape(row["label"] or ""), escape(row["uri"]))
    standard_output().print(table)


def unlabelled(found: pa.Table, labels: str) -> None:
    """Say on standard error how many pictures the user's own table of labels leaves out; nothing without one."""
    missing = lacking(found, labels) if labels else ""
    if missing:
        plain(missing, sys.stderr)


def demonstration(shown: Shown) -> None:
    """Print what the demo did and where it is."""
    console = standard_output()
    console.print(
        f"\n{shown.landed:,} files landed ({shown.second_wave:,} while the stream ran, {shown.second_wave:,} after a "
        f"refit): {shown.with_features:,} have features, {sum(shown.rejections.values())} were rejected, none is "
        "missing.\n"
    )
    labels = grid("features by label", "label", "pictures", "nearest other label", "1-NN purity")
    for each in shown.labels:
        labels.add_row(escape(each.label), str(each.pictures), escape(each.nearest), f"{each.purity:.2f}")
    console.print(labels)
    console.print(rejections(shown.rejections))
    console.print(_circle(shown), soft_wrap=True)
    console.print(
        f"\nlanding  {escape(str(shown.landing))}\nlake     {escape(str(shown.lake))}\n\n"
        f"See it:   verger report --lake {escape(str(shown.lake))} --out report\n"
        f"Look on:  verger view --lake {escape(str(shown.lake))}\n"
        "Go on:    verger stream --landing YOUR-PICTURES --lake YOUR-LAKE   (then copy pictures in while it runs)",
    )


def _circle(shown: Shown) -> str:
    circle, second = shown.circle, shown.circle.second.model
    provisional, batch = circle.view.get("provisional", 0), circle.view.get("batch", 0)
    drift = drift_line(second.drift) if second and second.drift else ""
    return escape(
        f"\nrefit       {circle.first.sentence}\n"
        f"view        {shown.second_wave:,} more landed: {batch:,} rows as the refit published them, {provisional:,} "
        f"provisional, on the same axes\n"
        f"refit again {circle.second.sentence}\n            {drift}\n"
    )


def _labels(console: Console, labels: list[dict[str, Any]]) -> None:
    """Show the labels that moved most."""
    moved = sorted((each for each in labels if each["mean_shift"] is not None), key=lambda each: -each["mean_shift"])
    table = grid("labels that moved most", "label", "pictures", "new", "moved by", "off the axes, old", "new")
    for each in moved[:_LABELS]:
        errors = ["" if each[name] is None else f"{100 * each[name]:.1f} %" for name in ("error_old", "error_new")]
        new = "" if each["new"] is None else f"{each['new']:,}"
        table.add_row(escape(str(each["label"])), f"{each['n']:,}", new, f"{each['mean_shift']:.3g}", *errors)
    console.print(table)


def _facts(done: Refit) -> dict[str, Any]:
    facts = {"sentence": done.sentence, "written": done.written, "notes": list(done.notes)}
    return facts | ({"model": _described(done.model)} if done.model else {"model": None})


def _described(shown: Model) -> dict[str, Any]:
    return {
        "model": shown.id,
        "featurizer": shown.featurizer,
        "created_at": shown.created_at,
        "features_version": shown.features_version,
        "n": shown.n,
        "rejected": shown.rejected,
        "width": shown.width,
        "k": shown.k,
        "solver": shown.solver,
        "parent": shown.parent,
        "explained_variance": shown.explained_variance.tolist(),
        "explained_variance_ratio": shown.explained_variance_ratio.tolist(),
        "drift": shown.drift,
        "run_card": dict(shown.run_card),
    }


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
