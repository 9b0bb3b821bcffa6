"""What of the documents is generated: the README's tables, from where the program itself has them, and the manual.

`python -m bootstrap.reference README.md` rewrites what stands between `<!-- NAME -->` and `<!-- /NAME -->` there and in
`docs/emr.md`, writes `docs/commands.md` and draws the README's picture; a test fails when a text is stale.
"""

import functools
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from PIL import Image

from bootstrap import cli, orchard
from bootstrap.emr import account
from bootstrap.emr.billing import cost_table, prices
from bootstrap.emr.billing.cost import bills
from bootstrap.emr.billing.usage import load_of
from conf.rejections import Reason
from conf.schemas import TABLES
from conf.settings import FIELDS, NAMES, Settings, flag

_MANUAL = """# Commands

What `verger COMMAND --help` prints, for every command; made from the program by `make reference`. Exit codes, settings
and tables stand in [README.md](../README.md)."""
# Of the runbook's table of costs: pictures a month, and pictures a second on a vCPU.
_A_MONTH, _RATE = (100_000, 100_000_000), 100.0
_SIDE = 100
_ROWS = 4


def commands() -> str:
    """Return the table of commands."""
    rows = ((f"`verger {each.name}`", each.sentence) for each in cli.commands(cli.built()))
    return _table(("command", "what it does"), rows)


def manual() -> str:
    """Return the page of every command, as `--help` explains it."""
    parts = [f"## verger {each.name}\n\n```\n{each.help}\n```" for each in cli.commands(cli.built())]
    return "\n\n".join([_MANUAL, *parts]) + "\n"


def settings() -> str:
    """Return the table of settings."""
    rows = ((f"`{flag(name)}`", _default(FIELDS[name].default), FIELDS[name].metadata["sentence"]) for name in NAMES)
    return _table(("flag", "default", "what it does"), rows)


def tables() -> str:
    """Return the columns of each table."""
    parts = []
    for table in TABLES:
        partitioned = f", partitioned by `{', '.join(table.partition_by)}`" if table.partition_by else ""
        rows = (
            (f"`{field.name}`", f"{field.type}{'?' if field.nullable else ''}", field.metadata[b"comment"].decode())
            for field in table.schema
        )
        parts.append(f"**`{table.name}`**{partitioned}\n\n{_table(('column', 'type', 'what it holds'), rows)}")
    return "\n\n".join(parts)


def rejections() -> str:
    """Return the table of rejections."""
    return _table(("rejection", "meaning"), ((f"`{reason.value}`", reason.sentence) for reason in Reason))


def costs() -> str:
    """Return what a month on EMR costs for two sizes, from the prices that come along."""
    book = prices.read(account.REGION)
    # In store is what a year brings.
    loads = [load_of(Settings(), 12 * each, 12 * each / 365, _RATE) for each in _A_MONTH]
    found = [bills(dict.fromkeys(prices.ARCHITECTURES, load), book) for load in loads]
    rows = (
        (cost_table.NAMES[one.design], cost_table.PLATFORM_NAMES[one.platform], one.architecture,
         *(f"{each.total:,.0f}" for each in (one, other)))
        for one, other in zip(*found, strict=True)
    )  # fmt: skip
    return _table(("design", "on", "processor", *(f"{each:,} pictures a month" for each in _A_MONTH)), rows)


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "tables": tables,
    "rejections": rejections,
}


# The runbook's.
RUNBOOK: dict[str, Callable[[], str]] = {"costs": costs}


def rewritten(text: str, parts: Mapping[str, Callable[[], str]] = PARTS) -> str:
    """Return a document with its generated parts made anew."""
    for name, make in parts.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
        text = between.sub(functools.partial(_filled, make()), text)
    return text


def _filled(made: str, found: re.Match[str]) -> str:
    return found[1] + made + found[2]


def picture() -> Image.Image:
    """Draw the demo's varieties side by side, a few pictures of each."""
    sheet = Image.new("RGB", (_SIDE * len(orchard.VARIETIES), _SIDE * _ROWS), "white")
    for column, variety in enumerate(orchard.VARIETIES):
        for row in range(_ROWS):
            sheet.paste(orchard.draw(variety, seed=row, side=_SIDE), (column * _SIDE, row * _SIDE))
    return sheet


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _default(value: object) -> str:
    if isinstance(value, tuple):
        value = " ".join(value)
    if value == "":
        return ""
    return f"`{value}`" if len(str(value)) < 40 else "see `verger config`"


def main() -> None:
    """Rewrite the document named on the command line, and its picture beside it."""
    document = Path(sys.argv[1])
    document.write_text(rewritten(document.read_text("utf-8")), "utf-8")
    folder = document.parent / "docs"
    folder.mkdir(exist_ok=True)
    runbook = folder / "emr.md"
    runbook.write_text(rewritten(runbook.read_text("utf-8"), RUNBOOK), "utf-8")
    (folder / "commands.md").write_text(manual(), "utf-8")
    picture().save(folder / "orchard.jpg", quality=85)


if __name__ == "__main__":
    main()
