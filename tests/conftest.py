"""What several suites share: real photos where they exist, generated ones everywhere, one session, one backbone."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from bootstrap import orchard
from conf import access
from conf.access import Access
from conf.lake import LakePaths, create_lake
from conf.session import session
from streaming.backbones.compile import compile_backbone
from streaming.backbones.request import parse_backbone
from streaming.backbones.shelf import Compiled, model_path, save
from tests.places import local
from tests.storage import fixtures
from tests.storage.cloud import Cloud
from tests.storage.proxy import FaultProxy

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A busy machine is slow at times, and a landing is not refused for an example that nobody has seen before: these are
# looked for by `make long`.
_PATIENT = settings(settings.get_profile("default"), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", _PATIENT)
settings.register_profile("suite", _PATIENT, derandomize=True)
settings.load_profile("suite")

# Fixtures of every suite.
aws, cloud, proxied, proxy = fixtures.aws, fixtures.cloud, fixtures.proxied, fixtures.proxy
SHARED = Path(__file__).parents[2] / "shared"
TINY = "efficientnet-lite0@64"


@pytest.fixture(autouse=True)
def _own_way() -> Iterator[None]:
    """Let no test go the way to object stores that another one took."""
    access.use(Access())
    yield
    access.use(Access())


@pytest.fixture(scope="session")
def photos() -> Path:
    """Return the folder of real Fruits-360 photos, or skip where this checkout has none beside it."""
    folder = SHARED / "data" / "fruits"
    if not folder.is_dir():
        pytest.skip("no photos beside this checkout")
    return folder


@pytest.fixture(scope="session")
def embedded() -> Compiled:
    """Compile EfficientNet-Lite0 with its embedded weights, at 64 pixels: real, and quick."""
    return compile_backbone(parse_backbone(TINY))


@pytest.fixture(scope="session")
def embedded_model(embedded: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save `embedded` and give the path of its model."""
    folder = tmp_path_factory.mktemp("backbones")
    save(embedded, folder)
    return local(model_path(folder, embedded.backbone.featurizer))


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """Plant two dozen pictures in a landing folder and return it."""
    folder = tmp_path / "landing"
    orchard.plant(folder, 24, seed=1)
    return folder


@pytest.fixture
def lake(tmp_path: Path, embedded: Compiled) -> LakePaths:
    """Return a new lake that already holds the compiled backbone."""
    paths = create_lake(str(tmp_path / "lake"))
    save(embedded, paths.backbones)
    return paths


@pytest.fixture(scope="session")
def spark(proxy: FaultProxy, cloud: Cloud) -> Iterator["SparkSession"]:
    """Start the session that production uses, once, with the tests' cloud for S3."""
    extra = {"spark.sql.streaming.pollingDelay": "50ms"}
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patched:
            for name, value in replace(cloud, endpoint=proxy.endpoint).environment().items():
                patched.setenv(name, value)
            started = stack.enter_context(session("tests", cores=2, extra=extra, lake="s3://tests/lake"))
        yield started
