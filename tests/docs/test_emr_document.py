"""The runbook's commands exist, with the options that it gives them, and its templates have the parameters it names."""

import re
import shlex
from pathlib import Path

import pytest

from bootstrap import cli
from bootstrap.emr import template
from bootstrap.reference import RUNBOOK, rewritten

_PAGE = (Path(__file__).parents[2] / "docs" / "emr.md").read_text("utf-8")
_COMMANDS = {each.name: each for each in cli.commands(cli.built())}
_WRITTEN = sorted(
    {
        line.partition("#")[0].strip()
        for found in re.findall(r"`(verger [^`]+)`|^ {4}(verger .+)$", _PAGE.replace("\\\n", " "), re.MULTILINE)
        for line in found
        if line
    }
)


def _command(words: list[str]) -> str:
    return next((name for length in (3, 2, 1) if (name := " ".join(words[1 : 1 + length])) in _COMMANDS), "")


@pytest.mark.parametrize("line", _WRITTEN)
def test_a_command_of_the_runbook_is_one_that_there_is(line: str) -> None:
    """Each option stands in its `--help`."""
    words = shlex.split(line.replace("…", "x"))
    name = _command(words)
    group = " ".join(words[1:])
    assert name or any(each.startswith(group + " ") for each in _COMMANDS), f"no such command: {line}"
    unknown = [word for word in words if word.startswith("--") and word not in _COMMANDS[name].help] if name else []
    assert unknown == []


def test_the_parameters_that_the_runbook_names_are_the_templates() -> None:
    """What follows `--parameter-overrides`, and what stands alone as NAME=VALUE."""
    known = {each.name for name in template.NAMES for each in template.parameters_of(template.printed(name, {}))}
    named = set(re.findall(r"\b([A-Z][A-Za-z]+)=", _PAGE)) - {"NAME"}
    assert named
    assert named - known == set()


def test_the_runbooks_table_of_costs_is_not_stale() -> None:
    """`make reference` would change nothing."""
    assert rewritten(_PAGE, RUNBOOK) == _PAGE
    assert "| stream | Serverless | x86_64 |" in _PAGE
