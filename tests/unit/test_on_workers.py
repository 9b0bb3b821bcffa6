"""What travels to workers by name loads there, where the driver's own packages are not."""

import subprocess
import sys
import tomllib
from pathlib import Path

from bootstrap.emr.packing.sharing import DRIVERS_OWN

_ROOT = Path(__file__).parents[2]
_CONTRACTS = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
# Of the imports of what workers load.
(_CONTRACT,) = (each for each in _CONTRACTS if "sharing.py" in each["name"])
_LOADING = """
import importlib, sys
sys.modules |= dict.fromkeys({absent}, None)
for name in {modules}:
    importlib.import_module(name)
"""


def test_the_contract_names_what_is_the_drivers_own() -> None:
    """Each package that anything of ours asks for."""
    asked = {name for name, why in DRIVERS_OWN.items() if "asks" not in why}
    assert set(_CONTRACT["forbidden_modules"]) >= asked


def test_what_a_worker_loads_needs_nothing_of_the_drivers_own() -> None:
    """The modules that the contract names: also what they import only as they are loaded."""
    absent = [name.replace("-", "_") for name in (*DRIVERS_OWN, "arro3")]
    code = _LOADING.format(absent=absent, modules=_CONTRACT["source_modules"])
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
