"""The cloud as fixtures, for every suite: started once for each process that runs tests, where a test asks for it."""

import os
from collections.abc import Iterator

import pytest

from tests.storage.cloud import Cloud, running


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """Run moto's server as long as tests run."""
    with running() as started:
        yield started


@pytest.fixture
def aws(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Let this process, and what it starts, find the tests' cloud by the environment, and no person's."""
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    return cloud
