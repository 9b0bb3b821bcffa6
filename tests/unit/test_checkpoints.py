import json
import struct
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conf.errors import StorageError
from conf.lake import LakePaths
from streaming import checkpoints
from streaming.checkpoints import BrokenCheckpoint, Position, Tables, mismatch, position
from tests.places import local

TABLE = "4ea8119b"


def written(path: Path, text: str) -> None:
    """Write a file as Hadoop does, with its checksums beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(data)
    sums = [zlib.crc32(data[at : at + 512]) for at in range(0, len(data), 512)]
    path.with_name(f".{path.name}.crc").write_bytes(struct.pack(f">4si{len(sums)}I", b"crc\0", 512, *sums))


def offsets(folder: Path, number: int, version: int) -> None:
    """Plan a micro-batch; the conf makes it longer than one checksum covers."""
    source = {"sourceVersion": 1, "reservoirId": TABLE, "reservoirVersion": version, "index": -1}
    lines = ["v1", json.dumps({"conf": "x" * 600}), json.dumps({**source, "isStartingVersion": False})]
    written(folder / "offsets" / str(number), "\n".join(lines))


def commit(folder: Path, number: int) -> None:
    """Commit a micro-batch."""
    written(folder / "commits" / str(number), 'v1\n{"nextBatchWatermarkMs":0}')


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a checkpoint of three micro-batches, all committed."""
    written(tmp_path / "metadata", '{"id":"q"}')
    for number in range(3):
        offsets(tmp_path, number, version=number + 2)
        commit(tmp_path, number)
    return tmp_path


def test_a_checkpoint_tells_where_its_query_stands(checkpoint: Path) -> None:
    """The last micro-batch planned and committed, and from which versions of arrivals on it goes and reads."""
    assert position(checkpoint) == Position("q", planned=2, committed=2, table=TABLE, version=4, needed=3)
    offsets(checkpoint, 3, version=9)
    assert position(checkpoint) == Position("q", planned=3, committed=2, table=TABLE, version=9, needed=4)


def test_where_nothing_was_planned_there_is_no_position(tmp_path: Path) -> None:
    """An empty folder, none at all, or one in which the query has only got its id."""
    written(tmp_path / "metadata", '{"id":"q"}')
    assert position(tmp_path) is None
    assert position(tmp_path / "nothing") is None


@pytest.mark.parametrize("name", ["metadata", "offsets/2", "offsets/1", "commits/2"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("sums", ["kept", "gone"])
def test_a_cut_file_is_told(checkpoint: Path, name: str, share: float, sums: str) -> None:
    """With Hadoop's checksums beside it or without them."""
    path = checkpoint / name
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    if sums == "gone":
        path.with_name(f".{path.name}.crc").unlink()
    with pytest.raises(BrokenCheckpoint, match=name):
        position(checkpoint)


@pytest.mark.parametrize("name", ["metadata", "offsets/2"])
def test_a_cut_or_wrong_checksum_is_told(checkpoint: Path, name: str) -> None:
    """Spark would fail at it."""
    path = checkpoint / name
    sums = path.with_name(f".{path.name}.crc")
    sums.write_bytes(sums.read_bytes()[:-1])
    with pytest.raises(BrokenCheckpoint, match="checksum"):
        position(checkpoint)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (["metadata"], "metadata cannot be read"),
        (["offsets/2"], "micro-batch 1 is planned and 2 is the last that is committed"),
        (["commits/1", "commits/2"], "micro-batch 2 is planned and 0 is"),
        (["commits/0", "commits/1", "commits/2"], "micro-batch 2 is planned and -1 is"),
    ],
)
def test_a_lost_file_is_told(checkpoint: Path, lost: list[str], said: str) -> None:
    """Whichever of those that Spark needs."""
    for name in lost:
        (checkpoint / name).unlink()
    with pytest.raises(BrokenCheckpoint, match=said):
        position(checkpoint)


def test_an_older_file_may_be_lost(checkpoint: Path) -> None:
    """Spark purges them itself."""
    (checkpoint / "offsets" / "0").unlink()
    (checkpoint / "commits" / "1").unlink()
    assert position(checkpoint) is not None


FOUND = Position("q", planned=5, committed=5, table=TABLE, version=8, needed=7)
SAID = Tables(sunk=5, outcomes=100, table=TABLE, latest=7, oldest=0)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (FOUND, SAID),
        # A crash before the sink's commit, and one between it and Spark's own.
        (Position("q", 6, 5, TABLE, 8, 7), SAID),
        (Position("q", 6, 5, TABLE, 8, 7), Tables(6, 100, TABLE, 7, 0)),
        (Position("q", 0, -1, TABLE, 3, 3), Tables(-1, 0, TABLE, 7, 0)),
        # All of the log that is left has been read, or all that is needed is left.
        (FOUND, Tables(5, 100, TABLE, 7, 7)),
        (Position("q", 5, 5, TABLE, 7, 6), Tables(5, 100, TABLE, 7, 6)),
        (None, Tables(-1, 0, TABLE, 7, 0)),
    ],
)
def test_a_checkpoint_that_belongs_to_the_tables_is_gone_on_from(found: Position | None, said: Tables) -> None:
    """What a crash at any point leaves behind is sound."""
    assert mismatch(found, said) == ""


@pytest.mark.parametrize(
    ("found", "said", "why"),
    [
        (None, SAID, "there is none, and 100 outcomes"),
        (FOUND, Tables(7, 100, TABLE, 7, 0), "ends with micro-batch 5, and the features table knows micro-batch 7"),
        (Position("q", 6, 5, TABLE, 8, 7), Tables(7, 100, TABLE, 7, 0), "knows micro-batch 7"),
        (FOUND, Tables(6, 100, TABLE, 7, 0), "knows micro-batch 6"),
        (FOUND, Tables(3, 100, TABLE, 7, 0), "knows micro-batch 3"),
        (FOUND, Tables(-1, 100, TABLE, 7, 0), "knows none of its micro-batches"),
        (FOUND, Tables(5, 100, "another", 7, 0), "another lake's"),
        (Position("q", 0, -1, TABLE, 3, 2), Tables(-1, 100, TABLE, 7, 0), "its first micro-batch was not committed"),
        (FOUND, Tables(5, 100, TABLE, 3, 0), "has read arrivals up to version 8, which has 3"),
        (Position("q", 5, 5, TABLE, 6, 4), Tables(5, 100, TABLE, 7, 5), "begins with version 5, and it needs 4"),
    ],
)
def test_a_checkpoint_that_does_not_belong_to_them_is_told(found: Position | None, said: Tables, why: str) -> None:
    """Lost, an older copy, another lake's, ahead of restored tables, behind a cleaned log, or cut at its beginning."""
    assert why in mismatch(found, said)


def test_the_oldest_version_that_any_checkpoint_needs(tmp_path: Path) -> None:
    """Broken checkpoints need nothing; without checkpoints nothing is needed."""
    lake = LakePaths(tmp_path)
    assert checkpoints.needed(lake) is None
    for name, version in (("a", 5), ("b", 3), ("c", 1)):
        folder = local(lake.checkpoint(name))
        written(folder / "metadata", '{"id":"q"}')
        offsets(folder, 0, version)
    local(lake.checkpoint("c") / "metadata").write_text("")
    assert checkpoints.needed(lake) == 2  # the snapshot before the end of a first micro-batch
    (lake.checkpoint("a") / "metadata").unlink()
    (lake.checkpoint("a") / "metadata").mkdir()
    with pytest.raises(StorageError, match="cannot be read"):
        checkpoints.needed(lake)


def test_checkpoints_set_aside_are_kept_for_a_while(checkpoint: Path, tmp_path: Path) -> None:
    """For as long as other files that nothing names any more; then they go."""
    lake = LakePaths(tmp_path / "lake")
    lake.checkpoints.mkdir(parents=True)
    checkpoint.joinpath("metadata").rename(local(lake.checkpoints / "net-64-avg-1234"))
    aside = checkpoints.set_aside(lake, "net-64-avg-1234", "a test")
    assert aside is not None
    assert aside.exists()
    assert checkpoints.set_aside(lake, "net-64-avg-1234", "again") is None
    (lake.quarantine / "something-else").mkdir()
    now = datetime.now(UTC)
    assert checkpoints.clean_quarantine(lake, now + timedelta(days=13), days=14) == 0
    aside.unlink()
    aside.mkdir()
    assert checkpoints.clean_quarantine(lake, now + timedelta(days=15), days=14) == 1
    assert [each.name for each in lake.quarantine.iterdir()] == ["something-else"]
