"""The documents say what the program does."""

import ast
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from batch.refit import refit
from bootstrap import cli
from bootstrap.reference import PARTS, manual, rewritten
from conf.lake import create_lake
from conf.schemas import COMPONENTS, FEATURES, MODELS
from conf.settings import Settings
from conf.tables import ensure

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("part", PARTS)
def test_the_readme_has_every_generated_part(part: str) -> None:
    """Commands, settings, tables and rejections each have their place."""
    assert f"<!-- {part} -->\n" in README


def test_the_readmes_generated_parts_are_not_stale() -> None:
    """`make reference` would change nothing."""
    assert rewritten(README) == README


def test_the_manual_is_not_stale() -> None:
    """It has every command, as `--help` explains it; `make reference` would change nothing."""
    assert (ROOT / "docs" / "commands.md").read_text("utf-8") == manual()
    names = [each.name for each in cli.commands(cli.built())]
    assert len(names) == len(set(names))
    assert {"stream", "refit", "models list", "backbone compile"} <= set(names)


def test_every_module_stands_in_the_architecture() -> None:
    """A newcomer finds each file of the product in ARCHITECTURE.md, by name."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    modules = [path for folder in ("conf", "streaming", "batch", "bootstrap") for path in (ROOT / folder).rglob("*.py")]
    missing = [str(path.relative_to(ROOT)) for path in modules if path.name != "__init__.py" and path.name not in text]
    assert missing == []


def test_make_lists_the_commands_of_the_readme() -> None:
    """`make` alone explains itself."""
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in set(re.findall(r"`?make (\w+)", README)):
        assert f"make {target} " in listed


def test_verger_py_stands_on_conf_and_the_legs_only() -> None:
    """The import contracts cannot see a module that is no package."""
    tree = ast.parse((ROOT / "verger.py").read_text("utf-8"))
    imported = {
        node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    }
    assert imported & {"bootstrap", "pyspark", "tensorflow"} == set()


def test_no_lock_file_or_source_names_an_index() -> None:
    """Packages come from wherever the machine's own pip looks, jars by Maven coordinates."""
    for name in ("requirements.txt", "pyproject.toml", "Makefile"):
        assert not re.search(r"https?://|index-url|find-links", (ROOT / name).read_text("utf-8")), name


def test_python_shown_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example reads a lake in the working directory and gives what its comments promise."""
    lake = create_lake(str(tmp_path / "lake"))
    rows = [outcome("a.jpg", features=[0.5, 1.5]), outcome("b.jpg", rejection="empty", detail="0 bytes")]
    write_deltalake(lake.table(FEATURES), pa.Table.from_pylist(rows, schema=FEATURES.schema), mode="append")
    monkeypatch.chdir(tmp_path)
    first, refitted, second, third = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    seen: dict[str, Any] = {}
    exec(first, seen)
    assert seen["features"].to_pylist() == [{"uri": "file:///a.jpg", "label": "Pear", "features": [0.5, 1.5]}]
    assert seen["rejections"]["rejection"].to_pylist() == ["empty"]
    assert seen["arrivals"].num_rows == 0
    assert shown(second, seen)["uri"].to_list() == ["file:///a.jpg"]
    more = [outcome(f"{name}.jpg", features=features) for name, features in {"c": [1.5, 0.5], "d": [2.5, 0.0]}.items()]
    write_deltalake(lake.table(FEATURES), pa.Table.from_pylist(more, schema=FEATURES.schema), mode="append")
    for table in (MODELS, COMPONENTS):
        ensure(table, lake.table(table))
    refit(lake, "f", Settings())
    exec(refitted, seen)
    assert seen["space"]["source"].to_pylist() == ["batch"] * 3
    assert seen["alike"].num_rows == 2
    assert seen["model"].n == 3
    ((label, pictures, mean),) = shown(third, seen).fetchall()
    assert (label, pictures, mean) == ("Pear", 3, pytest.approx(0, abs=1e-6))


def shown(code: str, names: dict[str, Any]) -> Any:
    """Run a README example and return the value of its last line."""
    *setup, last = code.strip().splitlines()
    exec("\n".join(setup), names)
    return eval(last, names)


def outcome(name: str, **values: Any) -> dict[str, Any]:
    """Return a row of `features`."""
    now = datetime.now(UTC)
    moments = dict.fromkeys(("landed_at", "discovered_at", "featurized_at"), now)
    return {
        "uri": f"file:///{name}",
        "e_tag": "1",
        "attempt": 1,
        "label": "Pear",
        "featurizer": "f",
        **moments,
        **values,
    }
