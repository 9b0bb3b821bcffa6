"""Features as a network's pictures have them, drawn, and tables of them, written through delta-rs.

What counts for a refit's cost and truth is as in the features of real photos from EfficientNet-Lite0: three in five
are 0, none is below, columns go together, and the spectrum decays slowly: 50 components of 1,280 show three fifths.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake
from numpy.typing import NDArray

from batch.algebra.vectors import lists
from conf.lake import LakePaths
from conf.schemas import FEATURES, TIMESTAMP
from conf.tables import open_table

FEATURIZER = "drawn-224-avg-00000000"
_CAUSES, _LABELS = 256, 12
# Of a column's variance: what is its own.
_OWN = 0.05
# In standard deviations: what is below it becomes 0, and is three fifths of all.
_THRESHOLD = 0.35
_CEILING = 6.0
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
_BETWEEN = timedelta(milliseconds=20)
# Numbers that are drawn at a time: 64 MB of them.
_AT_ONCE = 16 << 20


@dataclass(frozen=True)
class Network:
    """What gives pictures features: a few hundred causes of falling weight, mixed, cut off at 0 and at 6.

    Attributes
    ----------
    width : int
        Length of the features.
    seed : int
        Equal seeds give equal mixings.
    """

    width: int
    seed: int = 0

    def features(self, labels: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float32]:
        """Draw the features of pictures with some labels, shape (m, width)."""
        causes = random.standard_normal((len(labels), _CAUSES), np.float32) + self._centres[labels]
        drawn = np.asarray(causes @ self._mixing, np.float32)
        own: NDArray[np.float32] = random.standard_normal(drawn.shape, np.float32)
        own *= np.sqrt(np.float32(_OWN))
        drawn += own
        drawn -= np.float32(_THRESHOLD)
        return np.clip(drawn, 0, _CEILING, out=drawn)

    @cached_property
    def _mixing(self) -> NDArray[np.float32]:
        """How much of each cause goes into each column, (causes, width); each column with the variance 1 - own."""
        weights = np.arange(1, _CAUSES + 1, dtype=np.float32) ** np.float32(-0.4)
        mixing = np.random.default_rng(self.seed).standard_normal((_CAUSES, self.width), np.float32)
        mixing *= weights[:, None]
        mixing *= np.sqrt(np.float32(1 - _OWN) / (mixing**2).sum(axis=0))
        return mixing

    @cached_property
    def _centres(self) -> NDArray[np.float32]:
        """Where the pictures of each label lie among the causes, (labels, causes)."""
        return np.random.default_rng(self.seed + 1).standard_normal((_LABELS, _CAUSES), np.float32)


def plant(lake: LakePaths, network: Network, count: int, rows_per_file: int, first: int = 0) -> None:
    """Append the features of pictures that were never seen before.

    Parameters
    ----------
    lake
        Its tables must exist.
    count
        Pictures.
    rows_per_file
        Each file is a commit, as of a micro-batch.
    first
        The number of the first of them: another one gives other pictures.
    """
    table = open_table(lake.table(FEATURES))
    for start in range(first, first + count, rows_per_file):
        rows = _rows(network, range(start, min(start + rows_per_file, first + count)))
        write_deltalake(table, pa.RecordBatchReader.from_batches(FEATURES.schema, rows), mode="append")


def _rows(network: Network, numbers: range) -> Iterator[pa.RecordBatch]:
    at_once = max(1, _AT_ONCE // network.width)
    for start in range(numbers.start, numbers.stop, at_once):
        yield _batch(network, np.arange(start, min(start + at_once, numbers.stop)))


def _batch(network: Network, numbers: NDArray[np.int64]) -> pa.RecordBatch:
    random = np.random.default_rng((network.seed, int(numbers[0])))
    count = len(numbers)
    labels = random.integers(_LABELS, size=count)
    names = [f"fruit-{label:02}" for label in labels]
    moments = pa.array([_LONG_AGO + int(number) * _BETWEEN for number in numbers], TIMESTAMP)
    known = {
        "uri": pa.array([f"file:///orchard/{name}/{at:09}.jpg" for name, at in zip(names, numbers, strict=True)]),
        "e_tag": pa.array([f"{5000 + number % 3000}-{1767225600 * 10**9 + number}" for number in numbers]),
        "landed_at": moments,
        "discovered_at": moments,
        "attempt": pa.repeat(pa.scalar(1, pa.int32()), count),
        "label": pa.array(names),
        "sha256": pa.array([f"{number:064x}" for number in numbers]),
        "featurizer": pa.repeat(FEATURIZER, count),
        "features": lists(network.features(labels, random)),
        "featurized_at": moments,
    }
    columns = [known.get(each.name, pa.nulls(count, each.type)).cast(each.type) for each in FEATURES.schema]
    return pa.record_batch(columns, schema=FEATURES.schema)
