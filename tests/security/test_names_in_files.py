"""Labels and names are anybody's: in files for other programs they are data, and none decides where a file lies."""

import csv
import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch import export
from batch.refit import refit
from conf.errors import BackboneError
from conf.logs import configure, fields, logger
from conf.schemas import COMPONENTS, MODELS
from conf.settings import Settings
from conf.tables import ensure
from conf.uris import path_of, uri_of
from streaming.backbones.backbone import Backbone, Preparation, from_declaration
from streaming.backbones.shelf import Manifest, beside
from streaming.commands import inbox
from streaming.commands.requests import Answer, upkeep
from tests.places import local
from tests.security.names import HOSTILE, unseen
from tests.unit.lakes import ONE, Orchard

FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "\0=1",
    "\N{NO-BREAK SPACE}\N{ZERO WIDTH NO-BREAK SPACE}=1",
    "\N{FULLWIDTH EQUALS SIGN}1",
    # Where the comma is for decimals, a semicolon parts columns, and quotes elsewhere than at its beginning are text.
    'x;=HYPERLINK("http://evil.example")',
    'x;"=1',
    'x; "\t+1',
    "x\n=1",
    "x\r\n@1",
)
SIGNS = "=+-@\N{FULLWIDTH EQUALS SIGN}"
LABELS = (*FORMULAS, *HOSTILE.values(), "Pear", "a=b", "x;y", '"quoted", and more', None)


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Orchard:
    """Return a lake of hostile labels, refitted."""
    made = Orchard(tmp_path_factory.mktemp("hostile") / "lake")
    vectors = np.random.default_rng(0).normal(size=(len(LABELS), 4)).tolist()
    made.outcome(*({"uri": f"file:///{i}.jpg", "label": LABELS[i], "features": vectors[i]} for i in range(len(LABELS))))
    for table in (MODELS, COMPONENTS):
        ensure(table, made.paths.table(table))
    refit(made.paths, ONE, Settings(components=2))
    return made


def exported(orchard: Orchard, form: export.Form, out: Path) -> Path:
    """Export the components, and give the file."""
    assert export.components(orchard.paths, ONE, form, out) == len(LABELS)
    return out


@pytest.mark.parametrize("separator", [",", ";"])
def test_no_spreadsheet_finds_a_formula_in_a_csv(orchard: Orchard, tmp_path: Path, separator: str) -> None:
    """Neither where it parts columns at commas nor where it does at semicolons."""
    text = exported(orchard, "csv", tmp_path / "out.csv").read_text("utf-8")
    cells = [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) for cell in row]
    computed = [cell for cell in cells if cell.strip('"\0\ufeff \xa0\t\r\n')[:1] in tuple(SIGNS)]
    assert [cell for cell in computed if not is_number(cell)] == []


def is_number(cell: str) -> bool:
    """Whether a cell is one of the components, all of which are numbers; also several, parted at another sign."""
    try:
        return bool([float(part) for part in cell.split(",")])
    except ValueError:
        return False


def test_a_csv_has_a_row_for_each_picture(orchard: Orchard, tmp_path: Path) -> None:
    """Quotes, commas and line breaks in a label stay in its cell; harmless labels are as they are."""
    with exported(orchard, "csv", tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(LABELS)
    found = {row["uri"]: row["label"] for row in rows}
    for i, label in enumerate(LABELS):
        seen = found[f"file:///{i}.jpg"]
        assert seen.replace("'", "") == (label or "").replace("'", "")
        assert label in FORMULAS or not seen.startswith("'")


def test_json_and_parquet_hold_labels_as_they_are(orchard: Orchard, tmp_path: Path) -> None:
    """An object a line, whatever line breaks a reader knows."""
    text = exported(orchard, "json", tmp_path / "out.json").read_text("utf-8")
    assert unseen(text) == []
    rows = [json.loads(line) for line in text.splitlines()]
    table = pq.read_table(exported(orchard, "parquet", tmp_path / "out.parquet")).to_pylist()
    for found in (rows, table):
        assert {row["uri"]: row["label"] for row in found} == {f"file:///{i}.jpg": x for i, x in enumerate(LABELS)}


def test_a_model_is_read_without_pickle(orchard: Orchard, tmp_path: Path) -> None:
    """Whoever loads it runs nothing."""
    export.model(orchard.paths, ONE, "", tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as found:
        assert {str(found[name].dtype.kind) for name in found.files} == {"f", "U"}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture
def log() -> Iterator[Callable[[io.StringIO], logging.Logger]]:
    """Give what sends the product's log to a stream, until the end of the test."""
    product = logger()
    before = product.handlers[:], product.propagate, product.level

    def to(stream: io.StringIO) -> logging.Logger:
        configure(stream)
        return product

    yield to
    product.handlers[:], product.propagate = before[:2]
    product.setLevel(before[2])


@pytest.mark.parametrize("name", [*HOSTILE.values(), "\udcff of bytes", '"}\n{"'], ids=ascii)
class TestLog:
    """An event is a line."""

    def test_of_json(self, name: str, log: Callable[[io.StringIO], logging.Logger]) -> None:
        """It gives the name back, and a terminal that shows it does nothing."""
        stream = io.StringIO()
        log(stream).warning("picture %s", name, extra=fields(uri=name, error=ValueError(name)))
        (line,) = stream.getvalue().splitlines()
        assert unseen(line) == []
        found = json.loads(line)
        assert (found["event"], found["uri"], found["error"]) == (f"picture {name}", name, name)
        stream.getvalue().encode()

    def test_for_a_person(self, name: str, log: Callable[[io.StringIO], logging.Logger]) -> None:
        """It shows what can be seen; so does a traceback."""
        stream = Terminal()
        try:
            raise ValueError(name)
        except ValueError:
            log(stream).exception("picture %s", name, extra=fields(uri=name))
        assert unseen(stream.getvalue()) == []
        assert stream.getvalue().startswith("error: picture ")


@given(st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 47} & {*name} and name not in (b".", b"..")))
def test_a_uri_is_of_visible_letters_whatever_the_bytes_of_a_name(name: bytes) -> None:
    """And leads back to the file."""
    path = Path("/landing") / os.fsdecode(name)
    uri = uri_of(path)
    assert uri.isascii()
    assert uri.isprintable()
    assert not {*uri} & {*" \"'<>\\;=,[]"}
    assert path_of(uri) == path


DECLARED = Backbone("mine", "0" * 64, "none", Preparation(8), 1.0, 0.0, kind="tflite").declaration()


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "../../escaped"},
        {"architecture": "/etc/cron.d/x"},
        {"architecture": "a\x1b[31m"},
        {"architecture": ""},
        {"architecture": ["mine"]},
        {"pooling": "avg/../../x"},
        {"kind": "code"},
        {"preparation": {"size": "../8"}},
        {"preparation": {"size": 0}},
        {"preparation": {"size": 8, "fit": "../x"}},
        {"preparation": {"size": 8, "filter": "../x"}},
        {"channels": "../x"},
    ],
    ids=str,
)
def test_a_manifest_that_was_brought_along_names_no_place_outside(change: dict[str, Any], tmp_path: Path) -> None:
    """A featurizer's id names files of the lake: what it is made of is checked before it is one."""
    model = tmp_path / "mine.tflite"
    model.write_bytes(b"model")
    declaration = DECLARED | change
    manifest = Manifest(from_declaration(DECLARED), 3, hashlib.sha256(b"model").hexdigest(), 5, 0.0, 1.0, {}, "2026")
    content = json.loads(manifest.to_json()) | {"backbone": declaration}
    model.with_suffix(".json").write_text(json.dumps(content))
    with pytest.raises(BackboneError, match=r"mine\.json: .*cannot read the backbone's declaration") as raised:
        beside(model)
    assert unseen(str(raised.value)) == []


def test_a_manifest_that_was_brought_along_is_read(tmp_path: Path) -> None:
    """Where nothing in it is strange."""
    assert from_declaration(DECLARED).featurizer.startswith("mine-8-")


@pytest.mark.parametrize("name", ["..json", "...json", "a\nb.json", "\x1b[31m.json", "..%2f..%2fx.json", "~.json"])
def test_a_request_of_any_name_is_answered_among_the_answers(name: str, tmp_path: Path) -> None:
    """No name of a file leads the answer to another folder."""
    lake = Orchard(tmp_path / "lake")
    folder = local(lake.paths.requests)
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(upkeep().to_json())
    before = {path for path in tmp_path.rglob("*") if path.parent != folder / "answers"}
    for request in inbox.pending(folder):
        inbox.answer(folder, request, Answer("done"))
    after = {path for path in tmp_path.rglob("*") if path.parent != folder / "answers"}
    assert after - before <= {folder / "answers"}
