"""How many of the photos under a wrong label the report's list of strays begins with.

Photos beside this checkout are streamed by the embedded backbone and refitted, once; then 1 % of them, drawn anew by
each seed, are given another label, also drawn, of those that there are. The axes do not depend on labels. Run with
`python -m tests.bench.mislabelled [--seeds N] [--photos FOLDER]`.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from batch.own_labels import OwnLabels
from batch.refit import refit
from batch.report.survey import survey
from batch.view import View, view
from conf.featurizers import chosen
from conf.lake import LakePaths, open_lake
from conf.schemas import COMPONENTS, MODELS
from conf.settings import Settings
from conf.tables import ensure
from tests.bench.wave import PHOTOS

SHARE = 0.01
AIM = 0.9


def planted(seen: View, seed: int) -> tuple[OwnLabels, frozenset[str]]:
    """Return labels of which some are wrong, and the uris of these; equal seeds plant the same."""
    rows = pa.Table.from_batches(seen.batches(("uri", "label")))
    labels = dict(zip(rows["uri"].to_pylist(), rows["label"].to_pylist(), strict=True))
    names, random = sorted(set(labels.values())), np.random.default_rng(seed)
    uris = random.choice(sorted(labels), round(SHARE * len(labels)), replace=False).tolist()
    for uri in uris:
        others = [name for name in names if name != labels[uri]]
        labels[uri] = others[int(random.integers(len(others)))]
    own = OwnLabels("planted", pa.array(list(labels), pa.string()), pa.array(list(labels.values()), pa.string()))
    return own, frozenset(uris)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    asked = parser.parse_args()
    if not asked.photos.is_dir():
        print(f"mislabelled photos: not measured, there are no photos at {asked.photos}")
        return
    with tempfile.TemporaryDirectory(prefix="verger-mislabelled-") as folder:
        lake = _refitted(Path(folder) / "lake", asked.photos)
        seen = view(lake, chosen(lake, ""))
        _measure(seen, asked.seeds)


def _refitted(root: Path, photos: Path) -> LakePaths:
    entry = [sys.executable, "-m", "bootstrap.entry", "stream", "--once"]
    command = [*entry, "--landing", str(photos), "--lake", str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lake = open_lake(str(root))
    for table in (MODELS, COMPONENTS):
        ensure(table, lake.table(table))
    refit(lake, chosen(lake, ""), Settings())
    return lake


def _measure(seen: View, seeds: int) -> None:
    print(f"\n{seen.model.n:,} photos, {seen.model.k} components, {SHARE:.0%} of them under a wrong label\n")
    print("seed   planted   suspected   among the first N   among the first 2N   survey")
    shares = []
    for seed in range(seeds):
        labels, wrong = planted(seen, seed)
        count, began = len(wrong), time.perf_counter()
        found = [each.uri for each in survey(seen.batches, seen.model.k, labels, strays=seen.model.n).strays]
        took = time.perf_counter() - began
        first, twice = (len(wrong.intersection(found[: times * count])) for times in (1, 2))
        shares.append(first / count)
        print(f"{seed:4}{count:10}{len(found):12}{first:20}{twice:21}{took:8.1f} s")
    print(f"\nmedian share of the planted among the first N: {statistics.median(shares):.3f} (aim: at least {AIM})")


if __name__ == "__main__":
    main()
