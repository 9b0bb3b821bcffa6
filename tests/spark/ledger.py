"""What tests read from a lake to see that nothing was lost or doubled; through delta-rs, as any reader does."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from conf.lake import LakePaths
from conf.schemas import ARRIVALS, FEATURES
from conf.uris import uri_of

_KEY = ["uri", "e_tag", "landed_at", "attempt"]


def uris(table: pa.Table) -> list[str]:
    """Return a table's uris, sorted."""
    return sorted(table["uri"].to_pylist())


def landed(landing: Path) -> list[str]:
    """Return the uris of a landing's pictures, sorted."""
    return sorted(uri_of(path) for path in landing.rglob("*.jpg"))


def batch_sizes(lake: LakePaths) -> list[int]:
    """Return the rows that each micro-batch committed, oldest first."""
    history = DeltaTable(lake.table(FEATURES)).history()
    return [
        int(each["operationMetrics"]["numOutputRows"]) for each in history if each["operation"] == "STREAMING UPDATE"
    ][::-1]


def arrivals(lake: LakePaths) -> Counter[tuple[Any, ...]]:
    """Count the arrivals by what identifies them."""
    return _counted(DeltaTable(lake.table(ARRIVALS)).to_pyarrow_table(columns=_KEY).to_pylist())


def outcomes(lake: LakePaths, featurizer: str = "") -> Counter[tuple[Any, ...]]:
    """Count the outcomes of the featurizers whose ids begin so, by what identifies their arrivals."""
    rows = DeltaTable(lake.table(FEATURES)).to_pyarrow_table(columns=[*_KEY, "featurizer"]).to_pylist()
    return _counted(row for row in rows if row["featurizer"].startswith(featurizer))


def assert_complete(lake: LakePaths, landing: Path, featurizer: str = "") -> None:
    """Check that each picture has arrived and each arrival has exactly one outcome."""
    arrived = arrivals(lake)
    assert sorted({key[0] for key in arrived}) == landed(landing)
    assert set(arrived.values()) <= {1}
    assert outcomes(lake, featurizer) == arrived


def _counted(rows: Iterable[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row[name] for name in _KEY) for row in rows)
