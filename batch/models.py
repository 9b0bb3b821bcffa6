"""The models of a lake: rows of its table, read and appended through delta-rs."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError

from batch.model import Model, from_row
from conf.errors import LakeError, StorageError, UsageError, first_line
from conf.lake import LakePaths
from conf.schemas import MODELS
from conf.tables import dataset_of, open_table

# What a list of models shows; the rest is megabytes a row.
SUMMARY = (
    "model", "featurizer", "created_at", "features_version", "n", "rejected", "width", "k", "solver",
    "explained_variance_ratio", "parent",
)  # fmt: skip
_BUT_MOMENTS = tuple(name for name in MODELS.columns if name != "moments")


def summaries(lake: LakePaths, featurizer: str, columns: Sequence[str] = SUMMARY) -> pa.Table:
    """Return the models of one featurizer, oldest first; none where there is no table yet."""
    if not lake.has(MODELS):
        return pa.table({name: pa.array([], MODELS.schema.field(name).type) for name in columns})
    wanted = list(dict.fromkeys((*columns, "created_at")))
    found = _dataset(lake).to_table(columns=wanted, filter=ds.field("featurizer") == featurizer)
    return found.sort_by([("created_at", "ascending")]).select(list(columns))


def summary(lake: LakePaths, model: str, columns: Sequence[str] = SUMMARY) -> dict[str, Any] | None:
    """Return some columns of a model by its id; None where there is none."""
    if not lake.has(MODELS):
        return None
    rows = _dataset(lake).to_table(columns=list(columns), filter=ds.field("model") == model).to_pylist()
    return rows[0] if rows else None


def meant(lake: LakePaths, featurizer: str, wish: str) -> str:
    """Return the id of the one model of a featurizer that an id, or the beginning of one, means.

    Raises
    ------
    UsageError
        None begins so, or several do.
    """
    present = summaries(lake, featurizer, ["model"])["model"].to_pylist()
    matching = [each for each in present if each == wish] or [each for each in present if each.startswith(wish)]
    if len(matching) == 1:
        return str(matching[0])
    how_many = "no model" if not matching else f"{len(matching)} models"
    raise UsageError(f"model {wish!r}: {how_many} of {featurizer} begin so; `verger models list` shows them")


def load(lake: LakePaths, model: str, *, moments: bool = False) -> Model:
    """Return a model by its id; its moments, which only a refit needs, on demand.

    Raises
    ------
    LakeError
        There is none, as after its featurizer was dropped.
    """
    columns = list(MODELS.columns if moments else _BUT_MOMENTS)
    rows = _dataset(lake).to_table(columns=columns, filter=ds.field("model") == model) if lake.has(MODELS) else None
    if rows is None or not rows.num_rows:
        raise LakeError(f"{lake.table(MODELS)} holds no model {model}: `verger refit` makes a new one")
    return from_row(rows.slice(0, 1).to_pylist()[0])


def newest(lake: LakePaths, featurizer: str) -> Model | None:
    """Return the model of a featurizer that was made last, with its moments; None where there is none."""
    present = summaries(lake, featurizer, ["model"])["model"].to_pylist()
    return load(lake, present[-1], moments=True) if present else None


def append(lake: LakePaths, model: Model) -> None:
    """Append a model to the table.

    Raises
    ------
    StorageError
        The table cannot be written.
    """
    row = pa.Table.from_pylist([model.row()], MODELS.schema)
    try:
        write_deltalake(open_table(lake.table(MODELS)), row, mode="append")
    except (LakeError, DeltaError, OSError) as error:
        raise StorageError(f"{lake.table(MODELS)} cannot be written: {first_line(error)}") from error


def _dataset(lake: LakePaths) -> ds.Dataset:
    return dataset_of(open_table(lake.table(MODELS)))
