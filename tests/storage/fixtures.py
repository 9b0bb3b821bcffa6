"""The cloud as fixtures, for every suite: started once for each process that runs tests, where a test asks for it."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.storage.cloud import Cloud, running
from tests.storage.proxy import FaultProxy, Faults, proxying


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """Run moto's server as long as tests run."""
    with running() as started:
        yield started


@pytest.fixture(scope="session")
def proxy(cloud: Cloud) -> Iterator[FaultProxy]:
    """Run a proxy in front of the cloud, which does no harm until a test asks for it."""
    with proxying(cloud.endpoint) as started:
        yield started


@pytest.fixture
def aws(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Let this process, and what it starts, find the tests' cloud by the environment, and no person's."""
    return _found(cloud, monkeypatch)


@pytest.fixture
def proxied(cloud: Cloud, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Do the same by way of the proxy, as the suite's Spark does; its faults end with the test."""
    yield _found(replace(cloud, endpoint=proxy.endpoint), monkeypatch)
    proxy.set(Faults())


def _found(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    return cloud
