"""What a worker writes of the rows it reads, what it says of them, and how rows are told apart as old and new."""

import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from batch.algebra.vectors import vectors
from batch.model import Projection
from batch.rows.parts import Part, PartGone, count_rows
from batch.tasks import projecting
from batch.tasks.projecting import SCHEMA, Losses, Projected, Reading, Work, read_projected, readings
from conf.errors import StorageError
from conf.schemas import FEATURES
from tests.unit.lakes import MORNING, ONE

WIDTH, K = 5, 2
NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
Row = tuple[str | None, Sequence[float] | None]
DRAWN = np.random.default_rng(3)
PROJECTION = Projection(
    DRAWN.normal(size=WIDTH), DRAWN.uniform(0.5, 2, WIDTH), np.linalg.qr(DRAWN.normal(size=(WIDTH, K)))[0].T
)


def written(folder: Path, name: str, rows: Sequence[Row]) -> Part:
    """Write a file of features, of labels and vectors; no vector is a rejection."""
    found = [
        {
            "uri": f"{name}/{number}",
            "e_tag": "1-1",
            "landed_at": MORNING,
            "discovered_at": MORNING,
            "attempt": 1,
            "label": label,
            "features": None if vector is None else [float(each) for each in vector],
            "rejection": "corrupt" if vector is None else None,
            "featurized_at": MORNING,
        }
        for number, (label, vector) in enumerate(rows)
    ]
    schema = pa.schema([each for each in FEATURES.schema if each.name != "featurizer"])
    path = folder / f"{name}.parquet"
    pq.write_table(pa.Table.from_pylist(found, schema), path)
    return Part(str(path), path.stat().st_size, len(rows))


def drawn(count: int, label: str | None = "a") -> list[Row]:
    """Draw rows of features, far from zero."""
    return [(label, row) for row in (DRAWN.normal(size=(count, WIDTH)) * 3 + 20).astype(np.float32)]


def matrix(rows: Sequence[Row]) -> NDArray[np.float64]:
    """Return the vectors of rows, all of them usable."""
    return np.array([vector for _, vector in rows], np.float32).astype(np.float64)


def placed(rows: Sequence[Row]) -> NDArray[np.float64]:
    """Return their components by the formula."""
    places: NDArray[np.float64] = ((matrix(rows) - PROJECTION.mean) / PROJECTION.scale) @ PROJECTION.basis.T
    return places


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return where components go; the folder is not there yet."""
    return tmp_path / "components" / f"featurizer={ONE}"


def done(out: Path, readings: Sequence[Reading], *labels: str | None) -> Projected:
    """Project, and read what was said."""
    work = Work(PROJECTION, "m1", 7, str(out), frozenset(labels))
    return read_projected(pa.Table.from_batches(projecting.project(readings, work), projecting.SAID))


def components(out: Path, found: Projected) -> list[dict[str, Any]]:
    """Read the rows of the files that were said, in their order."""
    assert sorted(each.name for each in found.files) == sorted(path.name for path in out.iterdir())
    for each in found.files:
        assert (each.size, each.rows) == ((out / each.name).stat().st_size, count_rows(str(out / each.name)))
    tables = [pq.read_table(out / each.name, partitioning=None) for each in found.files]
    assert all(table.schema == SCHEMA for table in tables)
    return [row for table in tables for row in table.to_pylist()]


class TestWritten:
    """The files of components."""

    def test_components_are_those_of_the_formula(self, tmp_path: Path, out: Path) -> None:
        """In float64, kept as float32; all else of a picture is passed on."""
        rows = [*drawn(300), *drawn(20, None)]
        found = done(out, [Reading(written(tmp_path, "x", rows), new=False)])
        read = components(out, found)
        np.testing.assert_allclose([row["components"] for row in read], placed(rows), rtol=1e-6, atol=1e-6)
        assert [(row["uri"], row["label"]) for row in read] == [(f"x/{n}", row[0]) for n, row in enumerate(rows)]
        others = {(row["e_tag"], row["landed_at"], row["model"], row["features_version"]) for row in read}
        assert others == {("1-1", MORNING, "m1", 7)}
        assert (found.rows, found.unusable) == (320, 0)

    def test_only_rows_that_count_are_written(self, tmp_path: Path, out: Path) -> None:
        """A part may skip rows, or name them."""
        one, two = (written(tmp_path, name, drawn(4)) for name in "xy")
        one = Part(one.path, one.size, 4, np.array([0, 3]))
        two = Part(two.path, two.size, 4, np.array([0, 3]), skipping=False)
        read = components(out, done(out, [Reading(one, new=False), Reading(two, new=True)]))
        assert [row["uri"] for row in read] == ["x/1", "x/2", "y/0", "y/3"]

    def test_rejections_and_unusable_features_are_left_out(self, tmp_path: Path, out: Path) -> None:
        """Only the latter are counted: rejections are no features at all."""
        bad: list[Row] = [("a", [np.nan] * WIDTH), ("a", [1.0]), ("b", [np.inf] * WIDTH), ("b", []), ("a", None)]
        good = drawn(2)
        found = done(out, [Reading(written(tmp_path, "x", [*bad, *good, *bad]), new=True)], "a", "b")
        assert [row["uri"] for row in components(out, found)] == ["x/5", "x/6"]
        assert (found.unusable, found.labels["a"].rows, found.labels.get("b")) == (8, [0, 2], None)

    @pytest.mark.parametrize("rows", [[], [("a", None)]], ids=["no rows", "a rejection"])
    def test_no_rows_make_no_file(self, rows: list[Row], tmp_path: Path, out: Path) -> None:
        """Nor a folder."""
        found = done(out, [Reading(written(tmp_path, "x", rows), new=False)] if rows else [])
        assert (found.files, found.rows, found.all.error(False)) == ([], 0, None)
        assert not out.exists()

    @pytest.mark.parametrize(("group", "file", "groups"), [(1, 1, [1, 1, 1]), (1, 1 << 30, [3]), (1 << 30, 1, [1])])
    def test_files_and_row_groups_are_bounded(
        self, group: int, file: int, groups: list[int], tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rows wait until they make a row group; a file that is large enough is followed by another."""
        monkeypatch.setattr(projecting, "_GROUP_BYTES", group)
        monkeypatch.setattr(projecting, "_FILE_BYTES", file)
        rows = drawn(9)
        parts = [written(tmp_path, name, rows[3 * n : 3 * n + 3]) for n, name in enumerate("xyz")]
        found = done(out, [Reading(part, new=False) for part in parts])
        assert [pq.ParquetFile(out / each.name).num_row_groups for each in found.files] == groups
        read = components(out, found)
        assert [row["uri"] for row in read] == [f"{name}/{n}" for name in "xyz" for n in range(3)]
        np.testing.assert_allclose([row["components"] for row in read], placed(rows), rtol=1e-6, atol=1e-6)


class TestFailing:
    """Whatever fails, no file stays that no commit will name."""

    @pytest.fixture(params=[1, 1 << 30], ids=["some files are done", "one file is begun"])
    def file_bytes(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let files end at once, or never."""
        monkeypatch.setattr(projecting, "_GROUP_BYTES", 1)
        monkeypatch.setattr(projecting, "_FILE_BYTES", request.param)

    @pytest.mark.usefixtures("file_bytes")
    def test_a_file_of_features_that_is_gone(self, tmp_path: Path, out: Path) -> None:
        """Others were read before it."""
        parts = [written(tmp_path, name, drawn(3)) for name in "xyz"]
        Path(parts[2].path).unlink()
        with pytest.raises(PartGone):
            done(out, [Reading(part, new=False) for part in parts])
        assert list(out.iterdir()) == []

    @pytest.mark.usefixtures("file_bytes")
    def test_an_end_from_outside(self, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As Ctrl-C."""
        parts = [written(tmp_path, name, drawn(3)) for name in "xy"]

        def cut(column: pa.Array, width: int) -> Any:
            if out.exists():
                raise KeyboardInterrupt
            return vectors(column, width)

        monkeypatch.setattr("batch.tasks.projecting.vectors", cut)
        with pytest.raises(KeyboardInterrupt):
            done(out, [Reading(part, new=False) for part in parts])
        assert list(out.iterdir()) == []

    @pytest.mark.parametrize("step", ["begun", "filled", "ended"])
    def test_a_disk_that_is_full(self, step: str, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The file is deleted, though it cannot even be ended, and one line says why."""

        class Full(pq.ParquetWriter):  # type: ignore[misc]
            def __init__(self, *given: Any, **named: Any) -> None:
                if step == "begun":
                    raise NO_SPACE
                super().__init__(*given, **named)

            def write_table(self, *given: Any, **named: Any) -> None:
                if step == "filled":
                    raise NO_SPACE
                super().write_table(*given, **named)

            def close(self) -> None:
                super().close()
                raise NO_SPACE

        part = written(tmp_path, "x", drawn(3))
        monkeypatch.setattr(pq, "ParquetWriter", Full)
        with pytest.raises(StorageError, match=r"cannot be written: .*No space left on device"):
            done(out, [Reading(part, new=False)])
        assert list(out.iterdir()) == []


class TestLosses:
    """What of the standardised features lies off the axes."""

    def test_losses_are_those_of_numpy(self, tmp_path: Path, out: Path) -> None:
        """Old rows and new ones apart, each label by itself, those that are not kept together."""
        rows = {
            ("a", False): drawn(30),
            ("a", True): drawn(4),
            ("b", True): drawn(5, "b"),
            (None, False): drawn(6, None),
        }
        rows |= {("c", False): drawn(7, "c"), ("d", True): drawn(8, "d")}
        parts = {key: written(tmp_path, f"{key[0]}{key[1]}", each) for key, each in rows.items()}
        found = done(out, [Reading(part, new=key[1]) for key, part in parts.items()], "a", "b", None)
        assert found.labels.keys() == {"a", "b", None}
        self.assert_losses(found.labels["a"], rows["a", False], rows["a", True])
        self.assert_losses(found.labels["b"], [], rows["b", True])
        self.assert_losses(found.labels[None], rows[None, False], [])
        self.assert_losses(found.others, rows["c", False], rows["d", True])
        self.assert_losses(
            found.all,
            [row for key, each in rows.items() if not key[1] for row in each],
            [row for key, each in rows.items() if key[1] for row in each],
        )

    def assert_losses(self, losses: Losses, *both: Sequence[Row]) -> None:
        """Check counts, lengths and errors of old and new rows."""
        assert losses.rows == [len(each) for each in both]
        for new, rows in enumerate(both):
            if not rows:
                assert losses.error(bool(new)) is None
                continue
            standard = (matrix(rows) - PROJECTION.mean) / PROJECTION.scale
            lost = standard - standard @ PROJECTION.basis.T @ PROJECTION.basis
            assert losses.length[new] == pytest.approx((standard**2).sum(), rel=1e-12)
            # Taken off the components as they are kept, in float32.
            assert losses.lost[new] == pytest.approx((lost**2).sum(), rel=1e-6)
            assert losses.error(bool(new)) == pytest.approx((lost**2).sum() / (standard**2).sum(), rel=1e-6)

    def test_rows_at_the_mean_have_no_error(self, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """There is no variance to share; nor is there where all lies on the axes."""
        half = Projection(np.full(WIDTH, 0.5), np.ones(WIDTH), np.eye(WIDTH))
        monkeypatch.setattr("tests.unit.test_projecting.PROJECTION", half)
        parts = [written(tmp_path, name, [("a", row)]) for name, row in (("x", [0.5] * WIDTH), ("y", [1.5] * WIDTH))]
        found = done(out, [Reading(part, new=part is parts[1]) for part in parts])
        assert (found.all.error(False), found.all.error(True)) == (None, 0.0)

    def test_what_several_tasks_say_is_added_up(self, tmp_path: Path, out: Path) -> None:
        """Each says one row of text, though its labels are odd."""
        odd = 'null", \u2028 "'
        parts = [written(tmp_path, name, [*drawn(3), *drawn(2, odd), (odd, [1.0])]) for name in "xy"]
        work = Work(PROJECTION, "m1", 7, str(out), frozenset([odd]))
        said = [batch for part in parts for batch in projecting.project([Reading(part, new=True)], work)]
        assert [batch.num_rows for batch in said] == [1, 1]
        assert all(json.loads(batch["said"][0].as_py())["unusable"] == 1 for batch in said)
        total = read_projected(pa.Table.from_batches(said))
        assert (total.rows, total.unusable, len(total.files)) == (10, 2, 2)
        assert (total.labels[odd].rows, total.others.rows) == ([0, 4], [0, 6])
        whole = done(out, [Reading(part, new=True) for part in parts], odd)
        assert total.all.lost == pytest.approx(whole.all.lost)


FILES = st.lists(
    st.tuples(
        st.integers(1, 8),
        # Of a file's rows: lost ones, and new ones; all of them new; or none.
        st.sets(st.integers(0, 7)),
        st.one_of(st.none(), st.just("all"), st.sets(st.integers(0, 7), min_size=1)),
    ),
    max_size=4,
)


@given(files=FILES)
def test_old_rows_and_new_ones_are_told_apart(files: list[tuple[int, set[int], set[int] | str | None]]) -> None:
    """Whatever is skipped or named: each row that counts is read once, new only where it is said to be."""
    parts, added, old, new = [], [], set(), set()
    for number, (rows, lost, fresh) in enumerate(files):
        path = str(number)
        skipped = {place for place in lost if place < rows}
        named = set(range(rows)) if fresh == "all" else {each for each in fresh or () if int(each) < rows}
        named -= skipped
        parts.append(Part(path, 100, rows, np.array(sorted(skipped), np.int64) if skipped else None))
        if fresh == "all" and not skipped:
            added.append(Part(path, 100, rows))
        elif named:
            added.append(Part(path, 100, rows, np.array(sorted(named), np.int64), skipping=False))
        new |= {(path, place) for place in named}
        old |= {(path, place) for place in range(rows) if place not in skipped | named}
    found = readings(parts, added)
    read = [(each.part.path, place, each.new) for each in found for place in meant(each.part)]
    assert sorted(read) == sorted([*((*each, False) for each in old), *((*each, True) for each in new)])
    assert all(each.part.wanted for each in found)


def meant(part: Part) -> list[int]:
    """Return the places that a part means."""
    if part.positions is None:
        return list(range(part.rows))
    named = set(part.positions.tolist())
    return [place for place in range(part.rows) if (place in named) != part.skipping]
