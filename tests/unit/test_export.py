import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from batch import export, models
from batch.refit import refit
from batch.rows import parts
from batch.rows.parts import PartGone
from conf.errors import LakeError, StorageError, UsageError, VergerError
from conf.files import written_whole
from conf.schemas import COMPONENTS, FEATURES, MODELS
from conf.settings import Settings
from conf.tables import ensure
from conf.uris import uri_of
from tests.unit.lakes import ONE, OTHER, Orchard

LABELS = (
    None,
    "",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "\nx",
    "\N{FULLWIDTH EQUALS SIGN}1",
    'a "b", c',
    "'",
    "a=b",
)
DEFUSED = {each: f"'{each}" for each in LABELS[2:10]}
FORMS: tuple[export.Form, ...] = ("csv", "json", "parquet")


@pytest.fixture
def orchard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orchard:
    """Return a lake whose components are published, read a few rows at a time."""
    monkeypatch.setattr(parts, "_MOST_ROWS", 7)
    made = Orchard(tmp_path / "lake")
    vectors = np.random.default_rng(0).normal(size=(52, 5)).astype(np.float32).tolist()
    made.outcome(
        *(
            {"uri": f"file:///{number}.jpg", "label": LABELS[number % len(LABELS)], "features": each}
            for number, each in enumerate(vectors)
        )
    )
    made.outcome({"uri": "file:///other.jpg"}, featurizer=OTHER)
    return refitted(made)


def refitted(orchard: Orchard) -> Orchard:
    """Refit."""
    for table in (MODELS, COMPONENTS):
        ensure(table, orchard.paths.table(table))
    refit(orchard.paths, ONE, Settings(components=3))
    return orchard


def published(orchard: Orchard) -> dict[str, dict[str, Any]]:
    """Read the published rows, by uri."""
    return {row["uri"]: row for row in orchard.rows(COMPONENTS)}


class TestComponents:
    """What is published, in one file."""

    def test_csv(self, orchard: Orchard, tmp_path: Path) -> None:
        """A column for each component, with every digit that float32 has and no other."""
        assert export.components(orchard.paths, ONE, "csv", tmp_path / "out.csv") == 52
        with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
            found = {row["uri"]: row for row in csv.DictReader(file)}
        assert found.keys() == published(orchard).keys()
        for uri, row in published(orchard).items():
            assert list(found[uri]) == ["uri", "label", "model", "c1", "c2", "c3"]
            assert found[uri]["model"] == row["model"]
            texts = [found[uri][f"c{number}"] for number in (1, 2, 3)]
            assert [np.float32(text) for text in texts] == row["components"]
            assert max(map(len, texts)) <= len("-1.23456789e-10")

    def test_spreadsheets_compute_nothing_of_a_csv(self, orchard: Orchard, tmp_path: Path) -> None:
        """A text that begins like a formula begins with an apostrophe; others are as they are."""
        export.components(orchard.paths, ONE, "csv", tmp_path / "out.csv")
        with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
            found = {row["uri"]: row["label"] for row in csv.DictReader(file)}
        labels = {uri: row["label"] for uri, row in published(orchard).items()}
        assert set(labels.values()) == set(LABELS)
        assert found == {uri: DEFUSED.get(label, label or "") for uri, label in labels.items()}

    def test_json(self, orchard: Orchard, tmp_path: Path) -> None:
        """An object a line, with texts as they are."""
        assert export.components(orchard.paths, ONE, "json", tmp_path / "out.json") == 52
        found = [json.loads(line) for line in (tmp_path / "out.json").read_bytes().split(b"\n")[:-1]]
        for row in found:
            row["components"] = np.array(row["components"], np.float32).tolist()
        wanted = published(orchard)
        names = ("uri", "label", "model", "components")
        assert sorted(found, key=lambda row: row["uri"]) == [
            {name: wanted[uri][name] for name in names} for uri in sorted(wanted)
        ]

    def test_parquet(self, orchard: Orchard, tmp_path: Path) -> None:
        """The table's own columns, the featurizer among them."""
        assert export.components(orchard.paths, ONE, "parquet", tmp_path / "out.parquet") == 52
        found = pq.read_table(tmp_path / "out.parquet")
        assert found.schema.equals(COMPONENTS.schema)
        assert {row["uri"]: row for row in found.to_pylist()} == published(orchard)

    @pytest.mark.parametrize("form", FORMS)
    def test_before_the_first_refit(self, orchard: Orchard, tmp_path: Path, form: export.Form) -> None:
        """Nothing is written, and the message says what publishes."""
        with pytest.raises(LakeError, match="verger refit"):
            export.components(orchard.paths, OTHER, form, tmp_path / "new" / "out")
        assert not (tmp_path / "new").exists()

    def test_an_unknown_format(self, orchard: Orchard, tmp_path: Path) -> None:
        """The message names those that there are."""
        with pytest.raises(UsageError, match="--format xlsx: it is one of csv, parquet, json"):
            export.components(orchard.paths, ONE, "xlsx", tmp_path / "out")  # type: ignore[arg-type]

    def test_files_that_vanish_meanwhile(
        self, orchard: Orchard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It begins again with a new file, and gives up at some time."""
        asked = []

        def gone_at_first(*given: Any) -> Any:
            asked.append(given)
            yield from parts.read_all(*given)
            if len(asked) == 1:
                raise PartGone("gone")

        monkeypatch.setattr(export, "read_all", gone_at_first)
        assert export.components(orchard.paths, ONE, "json", tmp_path / "out.json") == 52
        assert len((tmp_path / "out.json").read_bytes().splitlines()) == 52
        monkeypatch.setattr(export, "_TRIES", 0)
        with pytest.raises(StorageError, match="again later"):
            export.components(orchard.paths, ONE, "json", tmp_path / "out.json")


class TestModel:
    """A model as an archive of NumPy."""

    def test_its_formula_gives_what_is_published(self, orchard: Orchard, tmp_path: Path) -> None:
        """Whoever has the archive needs nothing of Verger."""
        identity = export.model(orchard.paths, ONE, "", tmp_path / "model.npz")
        with np.load(tmp_path / "model.npz", allow_pickle=False) as found:
            mean, scale, basis = found["mean"], found["scale"], found["basis"]
            assert found["explained_variance"].shape == found["explained_variance_ratio"].shape == (3,)
            about = json.loads(str(found["about"]))
        names = {"mean": mean, "scale": scale, "basis": basis}
        for row in orchard.rows(FEATURES):
            if row["featurizer"] == ONE:
                components = eval(about["formula"].partition("= ")[2], {"features": np.array(row["features"]), **names})
                np.testing.assert_allclose(components, published(orchard)[row["uri"]]["components"], atol=1e-6)
        assert about.items() >= {"model": identity, "featurizer": ONE, "n": 52, "solver": "covariance"}.items()

    def test_an_older_one(self, orchard: Orchard, tmp_path: Path) -> None:
        """By the beginning of its id."""
        (first,) = models.summaries(orchard.paths, ONE)["model"].to_pylist()
        orchard.outcome({"uri": "file:///new.jpg", "features": [1, 2, 3, 4, 5]})
        refitted(orchard)
        assert models.summaries(orchard.paths, ONE).num_rows == 2
        assert export.model(orchard.paths, ONE, first[:-1], tmp_path / "model.npz") == first

    def test_one_that_is_not_there(self, orchard: Orchard, tmp_path: Path) -> None:
        """Nothing is written."""
        with pytest.raises(UsageError, match="no model"):
            export.model(orchard.paths, ONE, "1999", tmp_path / "model.npz")
        with pytest.raises(LakeError, match="verger refit"):
            export.model(orchard.paths, OTHER, "", tmp_path / "model.npz")
        assert not (tmp_path / "model.npz").exists()


class TestTheFile:
    """Whole, or as it was before."""

    def test_folders_are_made_and_what_was_there_is_replaced(self, tmp_path: Path) -> None:
        """Named by a path or a URI."""
        out = tmp_path / "a b" / "ü" / "out"
        for place in (out, str(out), uri_of(out)):
            with written_whole(export.place_of(place), "out") as file:
                file.write(str(place).encode())
            assert out.read_text() == str(place)
        assert list(out.parent.iterdir()) == [out]

    def test_what_fails_halfway_leaves_nothing(self, tmp_path: Path) -> None:
        """Neither half a file nor a temporary one, and the one before stays."""
        out = tmp_path / "out"
        out.write_text("before")

        def fail() -> None:
            with written_whole(export.place_of(out), "out") as file:
                file.write(b"half")
                raise VergerError("halfway")

        with pytest.raises(VergerError, match="halfway"):
            fail()
        assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]

    @pytest.mark.parametrize(
        ("out", "why"),
        [
            ("", "--out is empty"),
            (".", "is a folder: name a file"),
            ("s3://b/x", "not supported"),
            ("/dev/null", "device"),
        ],
    )
    def test_what_is_no_file(self, out: str, why: str) -> None:
        """The mend is in the message."""
        with pytest.raises(UsageError, match=why), written_whole(export.place_of(out), "out"):
            pass

    def test_what_cannot_be_written(self, tmp_path: Path) -> None:
        """One line that names it."""
        (tmp_path / "file").write_text("")
        broken = written_whole(export.place_of(tmp_path / "file" / "out"), "out")
        with pytest.raises(StorageError, match=r"--out .*file/out cannot be written: ") as raised, broken:
            pass
        assert "\n" not in str(raised.value)
