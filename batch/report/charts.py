"""The charts of the page as pictures for slides: 1920 x 1080 pixels each, on white."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import dates, font_manager, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from numpy.typing import NDArray

from batch.report import data, palette, wording
from batch.report.findings import Findings, Interval, Name, Refitted
from conf.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

_INK, _QUIET, _LINE = "#1b1f24", "#5c6470", "#e2e3e0"
_ONE, _TWO = "#0b5fa5", "#b34700"
_MARKERS = dict(zip(palette.SHAPES, "os^DvP", strict=True))
_FALLBACKS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC", "Microsoft YaHei", "Noto Sans Devanagari")
_STYLE = {
    "font.size": 15,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 17,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#eeeeeb",
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "legend.frameon": False,
}
# Pixels by which a name may leave its middle, and those that are free around it.
_LIFTS, _APART = (0, 28, -28, 56, -56, 84, -84), 3
_PERCENT = FuncFormatter(lambda value, _: f"{round(100 * value, 1):g} %")
_SPAN = FuncFormatter(lambda value, _: wording.span(value) if value else "0")
# Seconds between the lines of a chart, so that they fall on whole minutes and hours.
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400)
_SIZE, _DPI = (16, 9), 120
_NAMED, _LISTED, _BARS = 40, 24, 30


def charts(findings: Findings, folder: Path) -> tuple[Path, ...]:
    """Draw space.png, scree.png, labels.png, freshness.png and drift.png into a folder.

    Parameters
    ----------
    findings : Findings
    folder : Path
        Made if it is missing.

    Returns
    -------
    tuple of Path
        Of those that have anything to show; one that has not is deleted, as it is of an earlier report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, tuple[bool, Callable[[Findings, Figure], None]]] = {
        "space": (findings.sample.points.num_rows > 0, _space),
        "scree": (findings.shares.size > 0, _scree),
        "labels": (any(label.name is not None for label in findings.labels), _labels),
        "freshness": (any(each.outcomes for each in findings.intervals), _freshness),
        "drift": (any(each.drift for each in findings.refits), _drift),
    }
    paths = []
    for name, (anything, draw) in drawings.items():
        path = folder / f"{name}.png"
        if anything:
            write_atomically(path, _drawn(findings, draw))
            paths.append(path)
        else:
            path.unlink(missing_ok=True)
    return tuple(paths)


def _drawn(findings: Findings, draw: Callable[[Findings, Figure], None]) -> bytes:
    png = BytesIO()
    with rc_context({**_STYLE, "font.family": _fonts()}), warnings.catch_warnings():  # type: ignore[dict-item]
        # A name in a script that no font here has is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        draw(findings, figure)
        figure.text(0.995, 0.004, _origin(findings), ha="right", va="bottom", fontsize=11, color=_QUIET)
        figure.get_layout_engine().set(rect=(0.006, 0.03, 0.988, 0.96))  # type: ignore[union-attr, call-arg]
        figure.savefig(png, format="png")
    return png.getvalue()


def _fonts() -> list[str]:
    """Return those fonts of this machine that together know most scripts, matplotlib's own one first."""
    known = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _FALLBACKS if name in known)]


def _origin(findings: Findings) -> str:
    return f"{_short(findings.lake, 80)} · {findings.featurizer} · {wording.moment(findings.made_at)}"


def _short(name: Name, most: int = 26) -> str:
    text = wording.named(name)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _listed(name: Name) -> str:
    """Return a name for the legend, which leaves out what begins with an underscore."""
    text = _short(name)
    return f"\u200a{text}" if text.startswith("_") else text


def _space(findings: Findings, figure: Figure) -> None:
    axes = figure.subplots()
    looks = palette.looks(data.names(findings))
    at = {name: place for place, name in enumerate(looks)}
    labels = np.array([at[name] for name in findings.sample.points["label"].to_pylist()])
    points = _plane(data.components(findings.sample), labels)
    size = float(np.clip(60_000 / len(points), 8, 70))
    for place, (name, look) in enumerate(looks.items()):
        x, y = points[labels == place].T
        style: dict[str, Any] = {
            "c": look.on_light,
            "marker": _MARKERS[look.shape],
            "linewidths": 0.4,
            "edgecolors": "white",
        }
        axes.scatter(x, y, s=size, alpha=0.85, label=_listed(name), **style)
    _titled(findings, axes, points)
    _named(axes, [*looks], points, labels)
    if 1 < len(looks) <= _LISTED:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=13, markerscale=1.4, handletextpad=0.3)


def _plane(components: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the first two components; with one only, labels lie one above the other."""
    first = components[:, 0] if components.shape[1] else np.zeros(len(labels))
    second = (
        components[:, 1] if components.shape[1] > 1 else labels + 0.6 * ((np.arange(len(labels)) * 0.618) % 1 - 0.5)
    )
    return np.stack([first, second], axis=1).astype(np.float64)


def _titled(findings: Findings, axes: Axes, points: NDArray[np.float64]) -> None:
    shares = [wording.share(share) for share in findings.shares[:2]]
    plane = data.components(findings.sample).shape[1] > 1
    axes.set_xlabel(" · ".join(["Component 1", *shares[:1]]))
    axes.set_ylabel(" · ".join(["Component 2", *shares[1:2]]) if plane else "Label")
    drawn, of = len(points), findings.sample.of
    pictures = wording.counted(of, "picture")
    axes.set_title(f"Feature space: {f'{drawn:,} of {pictures}, a sample' if drawn < of else pictures}")
    if plane:
        axes.set_aspect("equal", adjustable="datalim")


def _named(axes: Axes, names: Sequence[Name], points: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    """Write names at the middle of their points, the greatest label first, each where it covers no other."""
    axes.figure.canvas.draw()
    taken: list[Bbox] = []
    counts = np.bincount(labels, minlength=len(names))
    for place in np.argsort(-counts, kind="stable")[:_NAMED]:
        if names[place] is None or not counts[place]:
            continue
        middle = axes.transData.transform(np.nanmedian(points[labels == place], axis=0))
        _placed(axes, _short(names[place]), middle, taken)


def _placed(axes: Axes, name: str, middle: NDArray[np.float64], taken: list[Bbox]) -> None:
    """Write a name where there is room for it near its middle; leave it out where there is none."""
    halo = [withStroke(linewidth=4, foreground="white")]
    text = axes.text(0, 0, name, ha="center", va="center", fontsize=15, fontweight="bold", path_effects=halo)
    for lift in _LIFTS:
        left, top = axes.transData.inverted().transform((middle[0], middle[1] + lift)).tolist()
        text.set_position((left, top))
        box = text.get_window_extent().padded(_APART)
        if not any(box.overlaps(other) for other in taken):
            taken.append(box)
            return
    text.remove()


def _scree(findings: Findings, figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    many = data.charted(findings)
    at = np.arange(1, many + 1)
    left.bar(at, findings.shares[:many], color=_ONE, width=0.75)
    left.set_title("Share of variance by component")
    right.plot(at, np.cumsum(findings.shares[:many]), color=_ONE, marker="o", linewidth=2.5)
    right.set_title("Together")
    right.set_ylim(0, 1.02)
    explained = wording.share(float(findings.shares[: findings.k].sum()))
    for axes, text in ((left, f"k = {findings.k}"), (right, f"k = {findings.k}: {explained}")):
        axes.axvline(findings.k + 0.5, color=_QUIET, linestyle="--", linewidth=1.5)
        high = 0.96 if axes is left else 0.06
        axes.text(findings.k + 0.3, high, text, transform=axes.get_xaxis_transform(), ha="right", fontweight="bold")
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("Component")


def _labels(findings: Findings, figure: Figure) -> None:
    named = sorted((each for each in findings.labels if each.name is not None), key=lambda each: -each.n)
    shown = named[:_BARS][::-1]
    looks = palette.looks(data.names(findings))
    left, right = figure.subplots(1, 2, sharey=True)
    colours = [looks[each.name].on_light for each in shown]
    rows = np.arange(len(shown))
    left.barh(rows, [each.n for each in shown], color=colours)
    right.barh(rows, np.nan_to_num([each.spread for each in shown]), color=colours)
    right.plot(_gaps([each.nearest_distance for each in shown]), rows, "|", color=_INK, markersize=14, mew=2.5)
    left.set_yticks(rows, [_short(each.name) for each in shown], color=_INK, fontsize=15 if len(shown) < 20 else 11)
    of = len(named) + findings.labels_beyond
    left.set_title("Pictures" if len(shown) == of else f"Pictures, the {len(shown)} largest of {of:,} labels")
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    right.set_title("Spread, and the distance to the nearest label ( | )")
    for axes in (left, right):
        axes.grid(axis="y", visible=False)


def _gaps(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _freshness(findings: Findings, figure: Figure) -> None:
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    shown: Sequence[Interval] = findings.intervals
    starts = [each.start for each in shown]
    for name, values, colour in (
        ("95 %", [each.freshness_p95 for each in shown], _TWO),
        ("median", [each.freshness_p50 for each in shown], _ONE),
    ):
        top.plot(starts, _gaps(values), color=colour, linewidth=2.5, marker="o", markersize=4, label=name)
    top.set_title("Freshness: from landing to outcome")
    top.set_ylim(bottom=0)
    top.yaxis.set_major_locator(_spans(top.get_ylim()[1]))
    top.yaxis.set_major_formatter(_SPAN)
    top.legend(loc="upper right")
    bottom.bar(starts, [each.rate for each in shown], color=_ONE, width=0.75 * (shown[0].end - shown[0].start))
    bottom.set_title("Throughput: pictures per second")
    _timed(bottom)


def _spans(most: float) -> MultipleLocator | MaxNLocator:
    step = next((each for each in _STEPS if most / each <= 7), None)
    return MultipleLocator(step) if step and most > _STEPS[0] else MaxNLocator()


def _timed(axes: Axes) -> None:
    locator = dates.AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _drift(findings: Findings, figure: Figure) -> None:
    shown = [each for each in findings.refits if each.drift]
    top, bottom = figure.subplots(2, 1, sharex=True)
    starts = [each.created_at for each in shown]
    style = {"linewidth": 2.5, "marker": "o"}
    top.plot(starts, _told(shown, "mean_shift"), color=_ONE, **style)
    top.set_title("Means moved, in standard deviations")
    bottom.plot(starts, _told(shown, "error_old"), color=_ONE, label="known pictures", **style)
    bottom.plot(starts, _told(shown, "error_new"), color=_TWO, label="new pictures", **style)
    bottom.set_title("Variance off the components")
    bottom.yaxis.set_major_formatter(_PERCENT)
    bottom.legend(loc="best")
    for axes in (top, bottom):
        axes.set_ylim(bottom=0)
        for each in (each for each in shown if each.published):
            axes.axvline(each.created_at, color=_QUIET, linestyle="--", linewidth=1.5)
            place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "right", "color": _QUIET}
            axes.text(each.created_at, 0.05, "published ", **place)
    _timed(bottom)


def _told(refits: Sequence[Refitted], key: str) -> NDArray[np.float64]:
    return _gaps([(each.drift or {}).get(key) for each in refits])
