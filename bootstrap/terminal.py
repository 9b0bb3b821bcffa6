"""What a person sees of a lake: lines and tables, on standard output.

Names of files and labels are anybody's: what is shown of them is what can be seen (`conf.printable`), and no markup.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import IO, Any

import pyarrow as pa
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from conf.lake import LakePaths, below
from conf.printable import printable
from conf.redaction import redacted
from conf.rejections import Reason
from conf.settings import FIELDS, NAMES, Resolved
from streaming.backbones.architectures import Architecture
from streaming.backbones.featurizer import Featurizer
from streaming.totals import Totals, duration

# Columns of output that nobody sees as it comes.
_WIDE = 200


def line(totals: Totals) -> str:
    """Return the totals as one line."""
    parts = [
        f"landed {totals.landed:,}",
        f"featurized {totals.featurized:,}",
        f"rejected {totals.rejected:,}",
        f"backlog {totals.backlog:,}" + (f", {duration(totals.seconds_left)} left" if totals.backlog else ""),
    ]
    if totals.last is not None:
        parts += [f"{totals.last.rate:.0f} img/s", f"freshness p50 {duration(totals.last.freshness_p50)}"]
    if totals.waiting:
        parts.append(f"{totals.waiting:,} still young")
    return " · ".join(parts)


def summary(totals: Totals, lake: str) -> None:
    """Print how a run ended."""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(totals.rejections.items()))
    plain(
        f"{totals.featurized:,} featurized, {totals.rejected:,} rejected{f' ({reasons})' if reasons else ''}, "
        f"{totals.backlog:,} left; {totals.landed:,} arrivals in {lake}"
    )
    for why, count in sorted(totals.passed_over.items()):
        plain(f"passed over: {count:,} {why.replace('_', ' ')}")


def rejections(counts: Mapping[str, int]) -> Table:
    """Return the table of rejections by reason."""
    sentences = {each.value: each.sentence for each in Reason}
    table = grid(None, "rejected", "pictures", "what it means")
    for reason, count in sorted(counts.items()):
        table.add_row(escape(reason), f"{count:,}", sentences.get(reason, "a reason of a newer Verger"))
    return table


def rejected(found: pa.Table, as_json: bool) -> None:
    """Print `Lake.rejections`: a table, or one JSON object a line."""
    columns = ("rejection", "uri", "detail", "attempt")
    if as_json:
        for row in found.to_pylist():
            print(json.dumps(row, default=str))
        return
    table = grid(None, "rejected", "picture", "what was seen", "attempt")
    for row in found.select(columns).sort_by([("rejection", "ascending"), ("uri", "ascending")]).to_pylist():
        table.add_row(*(escape(str(row[name])) for name in columns))
    standard_output().print(table)


def configuration(resolved: Resolved) -> None:
    """Print each setting, its value without any secret in it, and where it came from."""
    table = grid(None, "setting", "value", "from", "what it does")
    for name in NAMES:
        value = getattr(resolved.settings, name)
        value = " ".join(value) if isinstance(value, tuple) else str(value)
        table.add_row(name, escape(redacted(value)), escape(resolved.origins[name]), FIELDS[name].metadata["sentence"])
    standard_output().print(table)


def backbones(architectures: Iterable[Architecture], lake: LakePaths | None) -> None:
    """Print the known networks and those compiled in a lake."""
    output = standard_output()
    table = grid(None, "name", "input", "weights", "what it is")
    for each in architectures:
        table.add_row(each.name, str(each.size), each.named_weights, each.sentence)
    output.print(table)
    if lake is not None:
        compiled = grid("compiled in this lake", "featurizer")
        for manifest in [each for each in below(lake.backbones) if each.suffix == ".json"]:
            compiled.add_row(escape(manifest.stem))
        output.print(compiled)


def compiled(made: Featurizer) -> None:
    """Print what a compiled backbone is like."""
    manifest = made.manifest
    plain(
        f"{made.id}: {manifest.width} features, {manifest.tflite_bytes / 1e6:.1f} MB, differs from Keras by "
        f"{manifest.probe_error:.1e}, {manifest.seconds_per_picture * 1000:.1f} ms a picture on one core; {made.model}"
    )


class Grid(Table):
    """A table without lines, whose texts are Rich's markup, in which nothing is unseen and no `:name:` an emoji."""

    def add_row(self, *renderables: RenderableType | None, **options: Any) -> None:
        """Add a row; see `rich.table.Table.add_row`."""
        super().add_row(*map(_cell, renderables), **options)


def grid(title: str | None, *columns: str) -> Grid:
    """Return an empty table without lines."""
    made = Grid(
        title=title, title_justify="left", box=None, pad_edge=False, show_header=any(columns), padding=(0, 3, 0, 0)
    )
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def _cell(content: RenderableType | None) -> RenderableType | None:
    return Text.from_markup(printable(content), emoji=False) if isinstance(content, str) else content


def standard_output() -> Console:
    """Return standard output for tables; where it is no terminal, wide enough that no line is broken."""
    made = Console(highlight=False)
    return made if made.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=_WIDE)


def plain(text: str, file: IO[str] | None = None) -> None:
    """Print a text as one line, on standard output by default, without secrets."""
    print(printable(redacted(text)), file=file or sys.stdout, flush=True)
