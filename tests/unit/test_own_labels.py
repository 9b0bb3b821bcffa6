"""The user's own table of labels."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import verger
from batch.own_labels import OwnLabels, lacking, load, relabelled
from conf.errors import StorageError, UsageError
from conf.settings import resolve
from conf.uris import uri_of
from tests.unit.fields import Field


def given(labels: OwnLabels) -> dict[str, str]:
    """Return all labels by uri."""
    return dict(zip(labels.uris.to_pylist(), labels.labels.to_pylist(), strict=True))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, content: str | bytes, name: str = "labels.csv") -> str:
    """Write a file, and return its name."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


class TestReading:
    """What a file may look like."""

    def test_csv_holds_texts_only(self, folder: Path) -> None:
        """What looks like a number, a date or nothing at all stays as it is written; other columns do not matter."""
        rows = "uri,when,label\n/a/1,2020-01-01,001\n/a/2,x,NA\n/a/3,,2020-01-01\n/a/4,,null\n"
        labels = load(written(folder, rows))
        assert list(given(labels).values()) == ["001", "NA", "2020-01-01", "null"]
        assert labels.name == "labels.csv"

    def test_parquet_as_pandas_writes_what_is_missing(self, folder: Path) -> None:
        """A label that is no number is none; rows without a uri are told, also where none has one."""
        pq.write_table(pa.table({"uri": ["/a/1", "/a/2"], "label": [1.0, float("nan")]}), folder / "labels.parquet")
        assert list(given(load("labels.parquet")).values()) == ["1"]
        pq.write_table(pa.table({"uri": pa.nulls(2, pa.string()), "label": ["a", "b"]}), folder / "none.parquet")
        with pytest.raises(UsageError, match="2 of 2 rows have no uri"):
            load("none.parquet")

    def test_csv_as_programs_of_offices_write_it(self, folder: Path) -> None:
        """The mark at its beginning is no part of a name, lines end in two ways, and quoted texts hold lines."""
        rows = '\ufeffuri,label\r\n"/a/1","two\nlines"\r\n/a/2,"a ""quoted"", one"\r\n'
        assert list(given(load(written(folder, rows))).values()) == ["two\nlines", 'a "quoted", one']

    @pytest.mark.parametrize(
        ("column", "texts"),
        [
            (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
            (pa.array(["a", "a"]).dictionary_encode(), ["a", "a"]),
            (pa.array([7, 10]), ["7", "10"]),
        ],
    )
    def test_parquet_labels_become_texts(self, folder: Path, column: pa.Array, texts: list[str]) -> None:
        """Whatever the program that wrote them made of them."""
        pq.write_table(pa.table({"label": column, "uri": ["/a/1", "/a/2"], "n": [1, 2]}), folder / "x")
        assert list(given(load("x")).values()) == texts

    def test_uris_are_spelled_as_the_tables_spell_them(self, folder: Path) -> None:
        """Paths, relative ones too, and URIs in whatever spelling mean the same picture."""
        uris = {
            "/a/Apple 1/ü.jpg": "file:///a/Apple%201/%C3%BC.jpg",
            "file:///a/%41pple/x.jpg": "file:///a/Apple/x.jpg",
            "file:///a/Pear%201/x.jpg": "file:///a/Pear%201/x.jpg",
            "file:///a/%c3%a9.jpg": "file:///a/%C3%A9.jpg",
            "file:///b/../c/x.jpg": "file:///c/x.jpg",
            "here/x.jpg": uri_of(folder / "here/x.jpg"),
            "s3://bucket/a b.jpg": "s3://bucket/a%20b.jpg",
            "s3a://bucket/a%20c.jpg": "s3://bucket/a%20c.jpg",
            "gs://bucket//x/..jpg": "gs://bucket//x/..jpg",
        }
        labels = load(written(folder, "uri,label\n" + "".join(f"{each},{each}\n" for each in uris)))
        assert given(labels) == {spelled: each for each, spelled in uris.items()}

    def test_the_file_may_be_named_by_its_uri(self, folder: Path) -> None:
        """As a place is named everywhere else."""
        assert load(uri_of(folder / written(folder, "uri,label\n/a,b\n"))).labels.to_pylist() == ["b"]

    def test_an_empty_label_says_nothing(self, folder: Path) -> None:
        """It neither counts nor contradicts another."""
        assert given(load(written(folder, "uri,label\n/a,\n/a,b\n/c,\n"))) == {"file:///a": "b"}

    def test_the_same_label_twice_is_one(self, folder: Path) -> None:
        """Also where the picture is spelled in two ways."""
        assert given(load(written(folder, "uri,label\n/a,b\nfile:///a,b\n"))) == {"file:///a": "b"}


class TestWhatCannotBeUsed:
    """One line names the file, what is wrong with it and the mend."""

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            ("", "is empty"),
            (" \n", "is empty"),
            ("uri,label\n", "no rows below its head"),
            ("uri;label\n/a;b\n", "no column named uri: .*has 'uri;label'"),
            ("uri,Label\n/a,b\n", "no column named label: .*has 'uri', 'Label'"),
            ("uri,label,uri\n/a,b,c\n", "more than one column named uri"),
            ("uri,label\n/a,b,c\n", "neither as CSV .* nor as Parquet: .*Expected 2 columns, got 3"),
            (b"uri,label\n/a,\xff\n", "neither as CSV .in UTF-8"),
            (b"\x1f\x8b\x08\x00\x00", "neither as CSV"),
            (b"PAR1 and nothing more", "nor as Parquet"),
            ("uri,label\n/a,b\n,c\n", "1 of 2 rows have no uri"),
            ("uri,label\n/a,b\nhttp://x/y.jpg,c\n", "'http://x/y.jpg' is neither the path of a picture nor"),
            ("uri,label\n/a,b\n/a,c\n/d,b\n/d,e\n/d,f\n", "2 pictures have .* file:///a has 'b' and 'c': give each"),
            ("uri,label\n/a,b\nfile:///a,c\n/d,b\n", "1 picture has more than one label"),
        ],
    )
    def test_why(self, folder: Path, content: str | bytes, why: str) -> None:
        """What a person has to mend."""
        with pytest.raises(UsageError, match=f"^--labels labels.csv: .*{why}") as raised:
            load(written(folder, content))
        assert "\n" not in str(raised.value)

    def test_columns_of_other_things(self, folder: Path) -> None:
        """Lists are no labels."""
        pq.write_table(pa.table({"uri": ["/a"], "label": [["b"]]}), folder / "x")
        with pytest.raises(UsageError, match=r"label of list<.*>, which are no texts"):
            load("x")

    @pytest.mark.parametrize(("place", "why"), [("none.csv", "there is no such file"), (".", "is a folder")])
    def test_a_file_that_is_none(self, folder: Path, place: str, why: str) -> None:
        """It says so."""
        with pytest.raises(UsageError, match=rf"^--labels {place}: {why}"):
            load(place)

    def test_a_file_that_may_not_be_read(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It says why."""

        def refuse(_: Path) -> bytes:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(StorageError, match=r"^--labels x\.csv cannot be read: Permission denied"):
            load("x.csv")


class TestUsing:
    """Labels in place of those of the lake."""

    ROWS = pa.table({"uri": ["file:///b", "file:///a", "file:///c"], "label": ["old"] * 3, "n": [1, 2, 3]})

    @pytest.fixture
    def labels(self, folder: Path) -> OwnLabels:
        """Return labels of two pictures."""
        return load(written(folder, "uri,label\n/a,1\n/b,2\n"))

    def test_rows_get_them(self, labels: OwnLabels) -> None:
        """Null where the file has none; nothing else changes, in tables of several chunks and in batches."""
        expected = {"uri": self.ROWS["uri"].to_pylist(), "label": ["2", "1", None], "n": [1, 2, 3]}
        chunked = pa.concat_tables([self.ROWS.slice(0, 1), self.ROWS.slice(1)])
        for rows in (self.ROWS, chunked, self.ROWS.to_batches()[0]):
            assert relabelled(rows, labels).to_pydict() == expected
            assert relabelled(rows, labels).schema == self.ROWS.schema

    def test_what_lacks_one_is_counted(self, labels: OwnLabels) -> None:
        """In a sentence; nothing is said where all have one."""
        found = relabelled(self.ROWS, labels)
        assert lacking(found, labels.name) == "1 of 3 pictures have no label in labels.csv"
        assert lacking(found.slice(0, 2), labels.name) == ""

    def test_a_lake_is_read_with_them(self, folder: Path) -> None:
        """The view and what is similar carry them, published and provisional rows alike."""
        field = Field(folder / "lake")
        field.grow(*(f"file:///p/{number}" for number in range(20)))
        field.refit(components=2)
        field.grow("file:///p/new", at=60)
        name = written(folder, "uri,label\n/p/1,mine\n/p/new,\u00fc\n")
        lake = verger.open("lake")
        seen = lake.view(labels=name)
        assert {row["uri"]: row["label"] for row in seen.to_pylist() if row["label"]} == {
            "file:///p/1": "mine",
            "file:///p/new": "\u00fc",
        }
        assert seen.schema == lake.view().schema
        for by in ("components", "features"):
            found = lake.similar("/p/1", 99, by=by, labels=name)
            assert {row["label"] for row in found.to_pylist()} == {None, "\u00fc"}
        with pytest.raises(verger.UsageError, match="no such file"):
            lake.view(labels="none.csv")

    @pytest.mark.parametrize(
        "source", [{"flags": {"labels": "x.csv"}}, {"environment": {"VERGER_LABELS": "x.csv"}}, {"config": "x.toml"}]
    )
    def test_it_is_a_setting_as_others(self, folder: Path, source: dict[str, Any]) -> None:
        """By flag, environment and file."""
        (folder / "x.toml").write_text('labels = "x.csv"\n')
        given: dict[str, Any] = {"flags": {}, "environment": {}} | source
        if "config" in given:
            given["config"] = folder / given["config"]
        assert resolve(**given).settings.labels == "x.csv"
