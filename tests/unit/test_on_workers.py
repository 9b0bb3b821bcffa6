"""What travels to workers by name loads there, where the driver's own packages are not."""

import subprocess
import sys
import tomllib
from pathlib import Path

from bootstrap.emr.packing.sharing import DRIVERS_OWN

_ROOT = Path(__file__).parents[2]
_LOADING = """
import importlib, sys
sys.modules |= dict.fromkeys({absent}, None)
for name in {modules}:
    importlib.import_module(name)
"""


def test_what_a_worker_loads_needs_nothing_of_the_drivers_own() -> None:
    """The modules that a contract of the imports names: also what they import only as they are loaded."""
    contracts = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (modules,) = (each["source_modules"] for each in contracts if "sharing.py" in each["name"])
    absent = [name.replace("-", "_") for name in (*DRIVERS_OWN, "arro3")]
    command = [sys.executable, "-c", _LOADING.format(absent=absent, modules=modules)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
