"""A file of prices with round numbers, for tests: everything costs one USD for one of its unit, unless said."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from bootstrap.emr.billing.prices import UNITS, Assumed, Measured

REGION = "eu-west-3"


def text(
    prices: Mapping[str, Mapping[str, Any]] | None = None,
    assumed: Mapping[str, Any] | None = None,
    measured: Mapping[str, Any] | None = None,
    without: str = "",
) -> str:
    """Return such a file.

    Parameters
    ----------
    prices
        What differs, by the name of the price.
    assumed, measured
        What differs. The other measurements are 0; the other assumptions are 1, and nothing is assumed away by them.
    without
        The name of a price, an assumption or a measurement that is left out.
    """
    lines = ["[regions.eu-west-3]", 'currency = "USD"']
    for name, unit in UNITS.items():
        entry = {
            "usd": 1,
            "per": 1,
            "unit": unit,
            "source": "here",
            "date": "2026-11-01",
            **(prices or {}).get(name, {}),
        }
        if name != without:
            lines.append(f"{name} = {{ {', '.join(f'{key} = {_spelt(value)}' for key, value in entry.items())} }}")
    words = {"command": "make bench", "date": "2026-11-02", "machine": "this one"}
    for part, kind, number, given in (
        ("measured", Measured, 0, measured or {}), ("assumed", Assumed, 1, assumed or {}),
    ):  # fmt: skip
        values = {each.name: words.get(each.name, number) for each in fields(kind)} | dict(given)
        lines += [f"[{part}]", *(f"{name} = {_spelt(value)}" for name, value in values.items() if name != without)]
    return "\n".join(lines)


def file(folder: Path, *arguments: Any, **named: Any) -> Path:
    """Write such a file and return where."""
    path = folder / "prices.toml"
    path.write_text(text(*arguments, **named), "utf-8")
    return path


def _spelt(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
