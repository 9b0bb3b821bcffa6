"""What `verger emr cost` reckons with: requests, bytes and seconds, measured on the real commands against moto's S3.

A stream by notifications idles, then takes small waves of pictures; a refit follows; a lake of many small files is kept
up; a drawn lake of large files is refitted. All of it goes through a proxy that counts as S3's bill does. What a
refit takes of the cores is measured on folders (see `tests.bench.effort`). Prints the `[measured]` part of
`bootstrap/emr/billing/prices.toml`. Run with `python -m tests.bench.requests [--quick]`.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from batch import models
from conf import access
from conf.access import Access
from conf.lake import LakePaths, create_lake
from conf.schemas import ARRIVALS, COMPONENTS, FEATURES, Table
from conf.tables import count_rows, files_of, open_table
from streaming.backbones.featurizer import Featurizer
from streaming.backbones.featurizer import ensure as compiled
from streaming.backbones.request import parse_backbone
from tests.bench import effort
from tests.bench.counting import counting, counts
from tests.bench.planted import Network, plant
from tests.bench.wave import wave
from tests.storage.cloud import Cloud, running

COMMAND = "python -m tests.bench.requests"
BACKBONE = "efficientnet-lite0"
WAVES, PICTURES, IDLE_SECONDS = 12, 25, 60
QUICK_WAVES, QUICK_IDLE_SECONDS = 3, 15
NETWORK = Network(1280)
SMALL_FILES, SMALL_ROWS = 120, 20
ROWS, QUICK_ROWS = 40_000, 2_000
SIZES, QUICK_SIZES = (10_000, 100_000), (2_000, 8_000)
K = 138
_LONGEST = 240.0


@dataclass
class Site:
    """The cloud, seen through the proxy that counts, and what was measured there, by its name in the file."""

    cloud: Cloud
    proxy: str
    folder: Path
    found: dict[str, float] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Return the environment of a command that is to be counted."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("VERGER_")}
        return own | self.cloud.environment() | {"AWS_ENDPOINT_URL": self.proxy}

    def command(self, *arguments: str) -> Counter[str]:
        """Run a command of Verger to its end, and return what it asked for."""
        before = counts(self.proxy)
        subprocess.run(_words(*arguments), env=self.environment(), check=True, timeout=_LONGEST, capture_output=True)
        return counts(self.proxy) - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short, to see that it runs")
    quick = parser.parse_args().quick
    with (
        tempfile.TemporaryDirectory(prefix="verger-costs-", ignore_cleanup_errors=True) as folder,
        running() as cloud,
        counting(cloud.endpoint) as proxy,
    ):
        os.environ.update(cloud.environment())
        access.use(Access())
        site = Site(cloud, proxy, Path(folder))
        _stream(site, QUICK_WAVES if quick else WAVES, QUICK_IDLE_SECONDS if quick else IDLE_SECONDS)
        _upkeep(site)
        _large_refit(site, QUICK_ROWS if quick else ROWS)
        site.found |= effort.refits(_made(site.folder / "effort"), NETWORK, K, QUICK_SIZES if quick else SIZES)
        _print(site.found)


def _stream(site: Site, waves: int, idle_seconds: float) -> None:
    """Measure a stream that idles, then one that takes waves of new pictures, and a refit of what it made."""
    bucket = site.cloud.bucket("landing")
    queue = replace(site.cloud, endpoint=site.proxy).queue_of(bucket)
    lake = create_lake(f"s3://{site.cloud.bucket('lake')}/lake")
    made = compiled(parse_backbone(BACKBONE), lake.backbones, lambda text: print(text, file=sys.stderr))
    pictures = [path.read_bytes() for path in wave(site.folder / "wave", waves * PICTURES)]
    options = ("--landing", f"s3://{bucket}", "--lake", str(lake.root), "--discover", "notifications", "--queue", queue)
    with _streaming(site, *options) as log:
        # The first micro-batch loads libraries and writes the checkpoint's first files.
        _land(site, bucket, "warm", pictures[:1])
        _until(functools.partial(_has, lake, 1))
        time.sleep(5)
        idle, quiet = _counted(site, log, lambda: time.sleep(idle_seconds))
        before = _Tables(lake)

        def work() -> None:
            for number in range(waves):
                _land(site, bucket, f"{number:03}", pictures[number * PICTURES : (number + 1) * PICTURES])
                _until(functools.partial(_has, lake, 1 + (number + 1) * PICTURES))

        busy, seconds = _counted(site, log, work)
        grown = _Tables(lake).since(before)
    _keep_stream(site.found, idle, quiet, busy, seconds, grown, waves * PICTURES)
    _keep_lake(site, lake, made)


def _keep_stream(
    found: dict[str, float],
    idle: Counter[str],
    quiet: float,
    busy: Counter[str],
    seconds: float,
    grown: _Tables,
    n: int,
) -> None:
    hours = quiet / 3600

    def worked(name: str) -> float:
        return max(0.0, busy[name] - idle[name] * seconds / quiet)

    print(f"idle {quiet:.0f} s: {dict(idle)}\nworking {seconds:.0f} s: {dict(busy)}; {grown}", file=sys.stderr)
    found |= {
        "idle_tier1_per_hour": (idle["lake tier 1"] + idle["landing tier 1"]) / hours,
        "idle_tier2_per_hour": (idle["lake tier 2"] + idle["landing tier 2"]) / hours,
        "idle_queue_per_hour": idle["queue"] / hours,
        "idle_log_bytes_per_hour": idle["log"] / hours,
        "batch_tier1": worked("lake tier 1") / grown.versions,
        "batch_tier2": worked("lake tier 2") / grown.versions,
        "batch_log_bytes": worked("log") / grown.versions,
        "file_tier1": busy["features file tier 1"] / grown.files,
        "file_tier2": busy["features file tier 2"] / grown.files,
        "picture_tier2": busy["landing tier 2"] / n,
        "picture_queue": worked("queue") / n,
    }


def _keep_lake(site: Site, lake: LakePaths, made: Featurizer) -> None:
    """Refit what was streamed, and keep what the lake's rows take."""
    asked = site.command("refit", "--lake", str(lake.root))
    print(f"refit of a small lake: {dict(asked)}", file=sys.stderr)
    last = models.newest(lake, made.id)
    assert last is not None
    rows = {table.name: count_rows(lake.table(table)) for table in _KEPT}
    size = {table.name: sum(_files(lake, table)["size_bytes"].to_pylist()) for table in _KEPT}
    site.found |= {
        "refit_tier1": asked["lake tier 1"] + asked["components file tier 1"],
        "refit_tier2": asked["lake tier 2"] + asked["features file tier 2"],
        "feature_value_bytes": size["features"] / rows["features"] / made.width,
        "component_row_bytes": size["components"] / rows["components"] - 4 * last.k,
        "arrival_bytes": size["arrivals"] / rows["arrivals"],
    }


def _upkeep(site: Site) -> None:
    """Keep up a lake of small files: requests for each file that goes into a larger one, and for a round of nothing."""
    lake = effort.planted(f"s3://{site.cloud.bucket('lake')}/lake", NETWORK, SMALL_FILES * SMALL_ROWS, SMALL_ROWS)
    merging = site.command("upkeep", "--lake", str(lake.root))
    nothing = site.command("upkeep", "--lake", str(lake.root))
    print(f"upkeep that merges: {dict(merging)}\nupkeep of nothing: {dict(nothing)}", file=sys.stderr)
    assert _files(lake, FEATURES).num_rows < SMALL_FILES, "nothing was merged"
    more = merging - nothing
    site.found |= {
        "upkeep_tier1": _tier(nothing, 1),
        "upkeep_tier2": _tier(nothing, 2),
        "merged_file_tier1": _tier(more, 1) / SMALL_FILES,
        "merged_file_tier2": _tier(more, 2) / SMALL_FILES,
    }


def _large_refit(site: Site, rows: int) -> None:
    """Refit a drawn lake of large files, whole, then with new rows: requests in proportion to the rows."""
    lake = effort.planted(f"s3://{site.cloud.bucket('lake')}/lake", NETWORK, rows, rows // 2)
    asked = ("refit", "--lake", str(lake.root), "--components", str(K))
    full = site.command(*asked)
    plant(lake, NETWORK, round(effort.NEW * rows), rows, first=rows)
    incremental = site.command(*asked)
    print(f"refits of {rows:,} rows: full {dict(full)}, incremental {dict(incremental)}", file=sys.stderr)
    millions = rows / 1e6
    for kind, found in {"full": full, "refit": incremental}.items():
        site.found[f"{kind}_tier1_per_million"] = found["components file tier 1"] / millions
        site.found[f"{kind}_tier2_per_million"] = (
            found["features file tier 2"] + found["components file tier 2"]
        ) / millions


_KEPT = (ARRIVALS, FEATURES, COMPONENTS)


class _Tables:
    """Versions and files of a lake's features."""

    def __init__(self, lake: LakePaths | None = None, versions: int = 0, files: int = 0) -> None:
        table = open_table(lake.table(FEATURES)) if lake else None
        self.versions = table.version() if table else versions
        self.files = files_of(table).num_rows if table else files

    def since(self, before: _Tables) -> _Tables:
        """Return what has come since."""
        return _Tables(None, self.versions - before.versions, self.files - before.files)

    def __str__(self) -> str:
        return f"{self.versions} micro-batches, {self.files} files"


@contextmanager
def _streaming(site: Site, *options: str) -> Iterator[Path]:
    """Run a stream for the length of a `with` block; yield its log."""
    log = site.folder / "stream.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            _words("stream", *options), env=site.environment(), stdout=subprocess.DEVNULL, stderr=file
        )
        try:
            _until(lambda: b"stream started" in log.read_bytes() or process.poll() is not None)
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=_LONGEST)
    assert process.returncode == 0, log.read_text("utf-8", "replace")


def _counted(site: Site, log: Path, work: Callable[[], None]) -> tuple[Counter[str], float]:
    """Return the requests made, and the bytes logged, while something is done, and how many seconds it took."""
    before, size, began = counts(site.proxy), log.stat().st_size, time.monotonic()
    work()
    seconds = time.monotonic() - began
    return counts(site.proxy) - before + Counter(log=log.stat().st_size - size), seconds


def _land(site: Site, bucket: str, name: str, pictures: list[bytes]) -> None:
    site.cloud.put(bucket, {f"in/{name}/{number:05}.jpg": data for number, data in enumerate(pictures)})


def _files(lake: LakePaths, table: Table) -> pa.Table:
    return files_of(open_table(lake.table(table)))


def _has(lake: LakePaths, rows: int) -> bool:
    return count_rows(lake.table(FEATURES)) == rows


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONGEST
    while not happened():
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.2)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _tier(asked: Counter[str], tier: int) -> int:
    return sum(count for name, count in asked.items() if name.endswith(f"tier {tier}"))


def _words(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bootstrap.entry", *arguments]


def _print(found: dict[str, float]) -> None:
    print("[measured]")
    print(f'command = "{COMMAND}"')
    print(f'date = "{datetime.now(UTC):%Y-%m-%d}"')
    print(f'machine = "{os.cpu_count()} cores, {platform.machine()}; {BACKBONE}, {NETWORK.width:,} features, k = {K}"')
    for name, value in found.items():
        print(f"{name} = {value:.4g}" if value < 1000 else f"{name} = {value:.0f}")


if __name__ == "__main__":
    main()
