import pickle
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.rows.parts import Part, PartGone, count_rows, dealt, only, pieces, read, read_placed
from conf.errors import StorageError
from conf.schemas import FEATURES, TIMESTAMP
from tests.unit.lakes import MORNING

ROWS, GROUP = 23, 5


def written(
    path: Path, rows: int = ROWS, group: int = GROUP, width: int = 3, moment: datetime = MORNING, **options: Any
) -> Part:
    """Write a file of features whose uris and vectors are the numbers of the rows; give the part that is all of it."""
    numbers = np.arange(rows)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(numbers, width), pa.float32()), width)
    table = pa.table(
        {
            "uri": pa.array([str(each) for each in numbers]),
            "landed_at": pa.array([moment] * rows, TIMESTAMP),
            "features": vectors.cast(FEATURES.schema.field("features").type),
        }
    )
    pq.write_table(table, path, row_group_size=group, **options)
    return Part(str(path), path.stat().st_size, rows)


def some(part: Part, *positions: int, skipping: bool = False) -> Part:
    """Give a part that is some of the rows."""
    return Part(part.path, part.size, part.rows, np.array(positions, np.int64), skipping)


def numbers(part: Part, **options: int) -> list[int]:
    """Read a part, and give the numbers of its rows."""
    return [int(uri) for batch in read(part, ["uri"], **options) for uri in batch["uri"].to_pylist()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """Return a file of five row groups."""
    return written(tmp_path_factory.mktemp("part") / "file.parquet")


class TestRead:
    """Rows of one file, in its order, a bounded batch at a time."""

    @settings(max_examples=60)
    @given(st.sets(st.integers(0, ROWS - 1)), st.booleans(), st.integers(1, 200))
    def test_exactly_the_rows_that_are_meant(self, whole: Part, named: set[int], skipping: bool, most: int) -> None:
        """All but some, or only some, across row groups and batches; each with its place in the file."""
        part = some(whole, *sorted(named), skipping=skipping)
        meant = [each for each in range(ROWS) if (each in named) != skipping]
        placed = list(read_placed(part, ["features", "uri"], batch_bytes=most))
        assert [place for places, _ in placed for place in places] == meant
        assert [vector for _, batch in placed for vector in batch["features"].to_pylist()] == [[n] * 3 for n in meant]
        assert part.wanted == len(meant)
        assert all(batch.num_rows for _, batch in placed)

    def test_all_rows_without_positions(self, whole: Part) -> None:
        """In the file's order, with the columns in the asked one."""
        assert numbers(whole) == list(range(ROWS))
        assert {tuple(batch.schema.names) for batch in read(whole, ["features", "uri"])} == {("features", "uri")}

    def test_row_groups_without_a_wanted_row_are_not_read(self, tmp_path: Path) -> None:
        """What lies there may be damaged."""
        part = written(tmp_path / "file.parquet", compression="zstd")
        chunk = pq.ParquetFile(part.path).metadata.row_group(1).column(0)
        with open(part.path, "r+b") as file:  # noqa: PTH123
            file.seek(chunk.dictionary_page_offset)
            file.write(bytes(chunk.total_compressed_size))
        assert numbers(some(part, 0, 21)) == [0, 21]
        assert numbers(some(part, *range(5, 10), skipping=True)) == [*range(5), *range(10, ROWS)]
        with pytest.raises(StorageError, match=r"file\.parquet cannot be read: "):
            numbers(some(part, 7))

    @pytest.mark.parametrize("value", [0, None], ids=["zeros", "numbers"])
    def test_batches_of_wide_vectors_are_bounded(self, value: int | None, tmp_path: Path) -> None:
        """By what they take in memory, also where the file has next to nothing to say of them."""
        width, rows = 5000, 200
        values = np.full(width * rows, value, np.float32) if value is not None else np.arange(width * rows) % 9999
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(values, pa.float32()), width).cast(pa.list_(pa.float32()))
        pq.write_table(pa.table({"features": vectors}), tmp_path / "wide")
        part = Part(str(tmp_path / "wide"), 1, rows)
        batches = list(read(part, ["features"], batch_bytes=1 << 20))
        assert sum(batch.num_rows for batch in batches) == rows
        assert max(batch.num_rows for batch in batches) == (1 << 20) // (4 * width)

    def test_a_vector_larger_than_a_batch_comes_alone(self, tmp_path: Path) -> None:
        """There is always progress."""
        part = written(tmp_path / "file", rows=3, width=1000)
        assert [batch.num_rows for batch in read(part, ["features"], batch_bytes=100)] == [1, 1, 1]

    def test_columns_that_a_file_lacks_are_null(self, whole: Part) -> None:
        """An older version wrote it; the partition column is in no file; the types are those of the table."""
        (batch,) = read(some(whole, 3), ["label", "uri", "featurizer", "_change_type"])
        assert batch.to_pylist() == [{"label": None, "uri": "3", "featurizer": None, "_change_type": None}]
        assert batch.schema.field("label").type == pa.string()
        batches = list(read(whole, ["label"]))
        assert sum(batch["label"].null_count for batch in batches) == ROWS

    def test_types_are_the_tables_whoever_wrote_the_file(self, tmp_path: Path) -> None:
        """Spark writes moments as INT96, which has no zone and reaches further than nanoseconds in 64 bits."""
        later = MORNING.replace(year=2300)
        part = written(tmp_path / "file", moment=later, use_deprecated_int96_timestamps=True)
        assert not pq.read_schema(part.path).field("landed_at").type.tz
        batch = next(read(part, ["landed_at", "features"]))
        assert batch.schema.field("landed_at").type == TIMESTAMP
        assert batch["landed_at"][0].as_py() == later
        assert batch.schema.field("features").type == pa.list_(pa.float32())

    def test_a_file_that_vanished_is_told_from_one_that_cannot_be_read(self, tmp_path: Path) -> None:
        """Who reads begins again from a newer version after the one; the other stays an error."""
        part = written(tmp_path / "file.parquet")
        damaged = Part(str(tmp_path / "damaged"), 1, 1)
        Path(damaged.path).write_bytes(b"PAR1")
        Path(part.path).unlink()
        for work in (lambda: numbers(part), lambda: count_rows(part.path), lambda: only(part.path, np.array([0]))):
            with pytest.raises(PartGone, match=r"file\.parquet is gone: .*begin again from a newer one"):
                work()
        with pytest.raises(StorageError, match="damaged cannot be read: ") as caught:
            numbers(damaged)
        assert not isinstance(caught.value, PartGone)

    def test_a_file_of_other_rows_than_the_log_says_is_refused(self, whole: Part) -> None:
        """Positions in it would mean nothing."""
        with pytest.raises(StorageError, match="has 23 rows and the log says 24"):
            numbers(Part(whole.path, whole.size, 24))


def test_some_rows_of_a_file_are_a_part_that_knows_its_size(whole: Part) -> None:
    """The positions may come in any order."""
    part = only(whole.path, np.array([7, 2]))
    assert (part.size, part.rows, part.wanted, part.skipping) == (whole.size, ROWS, 2, False)
    assert numbers(part) == [2, 7]


def test_a_part_travels(whole: Part) -> None:
    """To a worker and back, small."""
    sent = pickle.dumps(some(whole, 1, 2))
    assert len(sent) < 500
    assert numbers(pickle.loads(sent)) == [1, 2]


sizes = st.lists(st.integers(0, 100), max_size=12)


class TestDealt:
    """Each task gets about as many bytes to read."""

    @given(sizes, st.integers(1, 6), st.randoms(use_true_random=False))
    def test_every_part_once_and_no_empty_share(self, sizes: list[int], tasks: int, random: Any) -> None:
        """The same shares in whatever order the parts come; none exceeds the mean by more than the largest part."""
        parts = [Part(f"{number:02}", size, 10) for number, size in enumerate(sizes)]
        shares = dealt(parts, tasks)
        assert sorted(part.path for share in shares for part in share) == [part.path for part in parts]
        assert len(shares) == min(tasks, len(parts))
        assert all(shares)
        loads = [sum(part.bytes for part in share) for share in shares]
        # A part of no bytes counts for one.
        assert max(loads, default=0) <= sum(sizes) / min(tasks, len(sizes) or 1) + max(sizes, default=0) + len(parts)
        random.shuffle(parts)
        assert [[part.path for part in share] for share in dealt(parts, tasks)] == [
            [part.path for part in share] for share in shares
        ]

    def test_by_the_share_of_rows_that_is_wanted(self) -> None:
        """A large file of which little is wanted is little."""
        large, small = Part("large", 1000, 10, np.arange(9)), Part("small", 300, 10)
        assert (large.bytes, small.bytes) == (100, 300)
        shares = dealt([large, small, Part("another", 150, 10)], 2)
        assert [[part.path for part in share] for share in shares] == [["small"], ["another", "large"]]


def test_large_parts_are_dealt_into_more_shares_than_tasks() -> None:
    """So that it can be told how far the work is; a share is worth its start, and nobody has more than eight."""
    assert pieces([Part("small", 1, 99)], 2) == 2
    assert pieces([Part("one", 1, 60_000), Part("other", 1, 60_000)], 2) == 4
    assert pieces([Part("large", 1, 10**8)], 3) == 24
