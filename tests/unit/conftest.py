"""An empty lake, a compiled backbone beside the one of `tests.conftest`, and no cloud: nothing leaves the machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming.backbones.compile import compile_backbone
from streaming.backbones.request import parse_backbone
from streaming.backbones.shelf import Compiled, save
from tests.places import local
from tests.unit.lakes import Orchard


@pytest.fixture(scope="module", autouse=True)
def _no_cloud() -> Iterator[None]:
    """Let whoever asks for a cloud find that nobody answers, and at once."""
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in nobody.items():
            patched.setenv(name, value)
        yield


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Return an empty lake."""
    return Orchard(tmp_path / "lake")


@pytest.fixture(scope="session")
def random_mobilenet() -> Compiled:
    """Compile the small MobileNetV2 with random weights, at 32 pixels."""
    return compile_backbone(parse_backbone("mobilenet-v2-0.35@32", "random:1"))


@pytest.fixture(scope="session")
def random_model(random_mobilenet: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save `random_mobilenet` and give the path of its model."""
    return local(save(random_mobilenet, tmp_path_factory.mktemp("backbones")))
