"""An account with the roles of the template `base` in it, for those who ask for one."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.emr.account import Account, opened
from tests.emr.day import ROLES, furnish
from tests.emr.policies import Document


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Run an account with the roles in it, its buckets and its queues."""
    with opened(tmp_path_factory.mktemp("account") / "record") as started:
        furnish(started)
        yield started


@pytest.fixture(scope="session")
def policies(account: Account) -> dict[str, list[Document]]:
    """Return each role's policies, with everything filled in."""
    return {name: account.policies(f"verger-{name}") for name in (*ROLES, "service")}


@pytest.fixture(scope="session")
def clients(account: Account) -> dict[tuple[str, str], Any]:
    """Take up each role once, and return its clients by role and service."""
    taken = {role: account.role(f"verger-{role}") for role in ROLES}
    return {(role, name): account.client(name, taken[role]) for role in ROLES for name in ("s3", "sqs")}
