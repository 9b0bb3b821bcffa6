"""What is published, and a model, as files of their own for other programs; without a JVM, a bounded batch at a time.

A file of components is of one version of the table, so of one model. In CSV a text that a spreadsheet would take for a
formula begins with an apostrophe (OWASP, CSV Injection), and so does a part of one behind a semicolon or a line break:
where the comma is for decimals, spreadsheets part a row at the semicolon, and the quotes around a text then hold
nothing together. Whoever needs texts as they are takes JSON or Parquet.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from batch import models
from batch.publication import current
from batch.rows.parts import PartGone, read_all
from batch.rows.winners import snapshot
from conf.errors import StorageError, UsageError
from conf.files import written_whole
from conf.lake import LakePaths
from conf.saying import Say, silent
from conf.schemas import COMPONENTS
from conf.uris import folder_of

Form = Literal["csv", "parquet", "json"]
# How a model places a picture, for whoever loads it elsewhere.
FORMULA = "components = ((features - mean) / scale) @ basis.T"
# Full-width signs are formulas to spreadsheets of some languages.
_SIGNS = r"=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}"
# Behind blanks and what cannot be seen as well, which some spreadsheets drop.
_FORMULA = rf"\A(?:[\t\r\n]|[\pZ\pC]*[{_SIGNS}])"
_INNER_FORMULA = rf'([;\r\n][\pZ\pC"]*)([{_SIGNS}])'
_TEXTS = ("uri", "label", "model")
_TRIES = 5


def components(lake: LakePaths, featurizer: str, form: Form, out: str | Path, say: Say = silent) -> int:
    """Write the published components of a featurizer into one file, and return how many rows these are.

    Parameters
    ----------
    form
        "csv": uri, label, model, then c1 … ck, each number in the fewest digits that float32 needs; formulas defused.
        "json": an object a line, with uri, label, model, and components as a list.
        "parquet": the columns of the table.
    out
        The file, as a path or file:// URI; what it held is replaced once all is written. Folders are made.
    say
        Told how many rows are written, now and then.

    Raises
    ------
    UsageError
        `form` is none of these, or `out` is a folder.
    LakeError
        Nothing is published yet, or the lake cannot be read.
    StorageError
        The file cannot be written, or one of the lake cannot be read.
    """
    if form not in _WRITERS:
        raise UsageError(f"--format {form}: it is one of {', '.join(_WRITERS)}")
    for _ in range(_TRIES):
        version = current(lake, featurizer).version
        try:
            with written_whole(place_of(out), "out") as file:
                return _WRITERS[form](file, _batches(lake, featurizer, version, say))
        except PartGone:
            continue
    raise StorageError(f"the files of {lake.table(COMPONENTS)} vanish while they are read: export again later")


def model(lake: LakePaths, featurizer: str, model_id: str, out: str | Path) -> str:
    """Write a model into a NumPy archive, and return its id.

    It holds mean (d), scale (d), basis (k, d), explained_variance (k) and explained_variance_ratio (k) of float64, and
    `about`, a text of JSON. `numpy.load(out, allow_pickle=False)` reads it.

    Parameters
    ----------
    model_id
        An id, or the beginning of one; empty: the published one.
    out
        As for `components`.

    Raises
    ------
    UsageError
        No model begins so, or several do; or `out` is a folder.
    LakeError
        Nothing is published yet, or the lake cannot be read.
    StorageError
        The file cannot be written.
    """
    wanted = models.meant(lake, featurizer, model_id) if model_id else current(lake, featurizer).model
    found = models.load(lake, wanted)
    about = {
        "model": found.id,
        "featurizer": found.featurizer,
        "created_at": found.created_at.isoformat(),
        "features_version": found.features_version,
        "n": found.n,
        "solver": found.solver,
        "formula": FORMULA,
    }
    with written_whole(place_of(out), "out") as file:
        np.savez(
            file,
            mean=found.projection.mean,
            scale=found.projection.scale,
            basis=found.projection.basis,
            explained_variance=found.explained_variance,
            explained_variance_ratio=found.explained_variance_ratio,
            about=np.array(json.dumps(about)),
        )
    return found.id


def place_of(out: str | Path) -> Path:
    """Return the absolute path that a person means by a path or file:// URI.

    Raises
    ------
    UsageError
        It is empty, or of a scheme that this version does not reach.
    """
    # An empty Path is the working folder, and refused as that.
    if not str(out):
        raise UsageError("--out is empty: give a path or file:// URI")
    return folder_of(str(out), "out")


def _batches(lake: LakePaths, featurizer: str, version: int, say: Say) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a version, with the schema of the table."""
    parts = snapshot(lake.table(COMPONENTS), featurizer, version).parts
    for batch in read_all(parts, COMPONENTS.columns, "writing components", say):
        columns = {name: batch.column(name) for name in COMPONENTS.columns}
        columns["featurizer"] = pa.repeat(pa.scalar(featurizer), len(batch))
        yield pa.record_batch([columns[each.name].cast(each.type) for each in COMPONENTS.schema], COMPONENTS.schema)


def _write_csv(file: IO[bytes], batches: Iterator[pa.RecordBatch]) -> int:
    rows, writer = 0, None
    for batch in batches:
        values = _numbers(batch)
        columns = {name: _defused(batch.column(name)) for name in _TEXTS}
        columns |= {f"c{number + 1}": pa.array(column) for number, column in enumerate(values.T)}
        table = pa.record_batch(columns)
        writer = writer or csv.CSVWriter(file, table.schema)
        writer.write(table)
        rows += len(batch)
    if writer:
        writer.close()
    return rows


def _write_parquet(file: IO[bytes], batches: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    texts = ["label", "featurizer", "model", "features_version"]
    with pq.ParquetWriter(file, COMPONENTS.schema, compression="zstd", use_dictionary=texts) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += len(batch)
    return rows


def _write_json(file: IO[bytes], batches: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    for batch in batches:
        lines = pc.binary_join_element_wise(
            *('{"uri": ', _quoted(batch, "uri"), ', "label": ', _quoted(batch, "label")),
            *(', "model": ', _quoted(batch, "model"), ', "components": [', _digits(batch), "]}\n"),
            "",
        )
        file.writelines(text.encode() for text in lines.to_pylist())
        rows += len(batch)
    return rows


_WRITERS: dict[str, Callable[[IO[bytes], Iterator[pa.RecordBatch]], int]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
    "json": _write_json,
}


def _numbers(batch: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the components (m, k)."""
    numbers: np.ndarray[Any, np.dtype[np.float32]] = batch.column("components").flatten().to_numpy()
    return numbers.reshape(len(batch), -1)


def _defused(texts: pa.Array) -> pa.Array:
    """Return texts such that a spreadsheet computes none of them."""
    texts = pc.replace_substring_regex(texts, _INNER_FORMULA, r"\1'\2")
    return pc.if_else(pc.match_substring_regex(texts, _FORMULA), pc.binary_join_element_wise("'", texts, ""), texts)


def _quoted(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Return texts as JSON has them; null for none."""
    encoded = batch.column(name).dictionary_encode(null_encoding="encode")
    return pa.array([json.dumps(text) for text in encoded.dictionary.to_pylist()]).take(encoded.indices)


def _digits(batch: pa.RecordBatch) -> pa.Array:
    """Return the components of each row as numbers with commas between, each in the fewest digits that it needs."""
    column = batch.column("components")
    numbers = pc.cast(column.flatten(), pa.string())
    ends = np.append(0, np.cumsum(pc.list_value_length(column).to_numpy()))
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), numbers), ", ")
