"""Lakes with a refitted feature space of drawn pictures, and what a report on one costs.

Features are as in `tests.bench.planted`; a part may come after the refit. What it costs to read the pictures is not
measured: their thumbnails are noise. Run with `python -m tests.bench.spaces [--pictures N] [--components K]`.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.refit import refit
from batch.report.report import findings
from conf.lake import LakePaths, create_lake
from conf.saying import Say
from conf.schemas import COMPONENTS, MODELS
from conf.settings import Settings
from conf.tables import ensure
from tests.bench.planted import FEATURIZER, Network, plant

WIDTH, FILES = 256, 20
SIDE = 32


def space(root: Path, pictures: int, components: int = 100, width: int = WIDTH, since: int = 0) -> LakePaths:
    """Make a lake of drawn pictures and refit it, without a JVM.

    Parameters
    ----------
    pictures
        How many the refit is of.
    components
        How many it has, k.
    width
        Length of the features.
    since
        How many come after it.

    Returns
    -------
    LakePaths
        Its one featurizer is `tests.bench.planted.FEATURIZER`.
    """
    lake = create_lake(str(root))
    for table in (MODELS, COMPONENTS):
        ensure(table, lake.table(table))
    network = Network(width)
    plant(lake, network, pictures, rows_per_file=-(-pictures // FILES))
    refit(lake, FEATURIZER, Settings(components=components))
    if since:
        plant(lake, network, since, rows_per_file=since, first=pictures)
    return lake


def noise(versions: pa.Table, say: Say) -> dict[str, NDArray[np.uint8]]:
    """Give every picture a thumbnail of noise."""
    uris = versions["uri"].to_pylist()
    random = np.random.default_rng(0)
    return {uri: random.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8) for uri in uris}


class Steps:
    """Keeps how long each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._step, self._since = "", time.perf_counter()

    def __call__(self, text: str, done: float = 0, total: float = 0) -> None:
        """Take note of a step, as `conf.saying.Say`."""
        now = time.perf_counter()
        if text != self._step:
            self.seconds[self._step] = self.seconds.get(self._step, 0.0) + now - self._since
            self._step, self._since = text, now


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument("--components", type=int, default=100)
    parser.add_argument("--since", type=int, default=0, help="pictures that come after the refit")
    parser.add_argument("--lake", type=Path, help="made there, or taken from there where it is; else thrown away")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="verger-spaces-") as folder:
        root = asked.lake or Path(folder) / "lake"
        lake = LakePaths(root) if root.exists() else space(root, asked.pictures, asked.components, since=asked.since)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        steps, began = Steps(), time.perf_counter()
        found = findings(lake, FEATURIZER, thumbnails=noise, say=steps)
        took = time.perf_counter() - began
        steps("")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{found.n:,} pictures, {found.k} components: {took:.1f} s, {before:,.0f} MB before and {after:,.0f} at most")
    for step, seconds in steps.seconds.items():
        if step:
            print(f"  {step:50}{seconds:8.2f} s")
    print(f"  {len(found.labels)} labels, {len(found.strays)} strays, {found.sample.points.num_rows:,} points")


if __name__ == "__main__":
    main()
