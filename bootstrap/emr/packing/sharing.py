"""Which packages of an environment every machine of a job needs, and which its driver alone: half of the bytes.

A contract of the imports in pyproject.toml holds what workers load against these, a test what the packages ask for.
"""

import re
from collections.abc import Mapping
from pathlib import Path

# And what for.
DRIVERS_OWN = {
    "deltalake": "the tables' logs",
    "arro3-core": "deltalake asks for it",
    "deprecated": "deltalake asks for it",
    "wrapt": "deprecated asks for it",
    "scipy": "solvers",
    "typer": "the command line",
    "annotated-doc": "typer asks for it",
    "shellingham": "typer asks for it",
    "pydantic": "typer asks for it",
    "annotated-types": "pydantic asks for it",
    "pydantic-core": "pydantic asks for it",
    "typing-inspection": "pydantic asks for it",
    "rich": "what people see",
    "markdown-it-py": "rich asks for it",
    "mdurl": "markdown-it-py asks for it",
    "pygments": "rich asks for it",
}


def _normal(name: str) -> str:
    """Return a package's name as indexes compare it: PEP 503, "Normalized Names"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def split(site: Path, driver: Path, owners: Mapping[str, str]) -> None:
    """Move the driver's own packages out of a `site-packages` folder into another one.

    Parameters
    ----------
    site, driver
        The second one is made.
    owners
        By the name of what lies at the top of `site`: the package that it is of.

    Raises
    ------
    LookupError
        One of them is not there: the packages have changed.
    """
    missing = DRIVERS_OWN.keys() - {_normal(owner) for owner in owners.values()}
    if missing:
        raise LookupError(min(missing))
    driver.mkdir(parents=True)
    for path in sorted(site.iterdir()):
        if _normal(owners.get(path.name, "")) in DRIVERS_OWN:
            path.rename(driver / path.name)
