"""Whatever happens to a checkpoint, the next run recovers by itself: nothing lost, nothing doubled, one log line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from bootstrap import orchard
from conf.errors import StreamError
from conf.lake import LakePaths, create_lake
from conf.schemas import FEATURES
from streaming import adoption, query
from streaming.backbones.shelf import Compiled, save
from streaming.progress import MicroBatch
from streaming.totals import Totals
from tests.places import local
from tests.spark.conftest import Run
from tests.spark.ledger import assert_complete, outcomes

GOING_ON = "going on from what the tables say"


@pytest.fixture
def plant(landing: Path) -> Callable[[int], None]:
    """Return a function that lands more pictures, other ones each time."""
    planted = 24

    def more(count: int) -> None:
        nonlocal planted
        orchard.plant(landing, count, seed=1, start=planted)
        planted += count

    return more


def checkpoint(lake: LakePaths) -> Path:
    """Return the one checkpoint."""
    (found,) = local(lake.checkpoints).iterdir()
    return found


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return why checkpoints were replaced, by the log, which is then emptied."""
    found = [record.fields["why"] for record in caplog.records if GOING_ON in record.message]  # type: ignore[attr-defined]
    caplog.clear()
    return found


@pytest.mark.long
def test_a_deleted_checkpoint(
    run: Run, landing: Path, lake: LakePaths, plant: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The query goes on behind what has outcomes; also where everything had one, and twice in a row."""
    run()
    for more in (4, 1):
        shutil.rmtree(local(lake.checkpoints))
        plant(more)
        assert run().featurized == more
        assert told(caplog) == [f"there is none, and {len(outcomes(lake)) - more:,} outcomes"]
        assert_complete(lake, landing)
    plant(2)
    assert run().featurized == 2
    assert told(caplog) == []
    assert_complete(lake, landing)


@pytest.mark.long
def test_a_checkpoint_cut_at_any_file(
    run: Run, landing: Path, lake: LakePaths, plant: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Each file that Spark needs is told by name; one that it does not need may be cut."""
    run(batch_pictures=12)
    names = sorted(
        str(path.relative_to(checkpoint(lake))) for path in checkpoint(lake).rglob("*") if path.suffix != ".crc"
    )
    files = [name for name in names if (checkpoint(lake) / name).is_file()]
    assert len(files) >= 5
    for name in files:
        victim = checkpoint(lake) / name
        if not victim.exists():
            continue
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
        plant(1)
        assert run().featurized == 1
        why = told(caplog)
        assert why == [] or name in why[0], (name, why)
        assert_complete(lake, landing)


@pytest.mark.long
def test_an_older_copy_restored(
    run: Run,
    landing: Path,
    lake: LakePaths,
    plant: Callable[[int], None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The sink would skip in silence what such a query plans anew."""
    run()
    shutil.copytree(checkpoint(lake), tmp_path / "copy")
    plant(3)
    run()
    place = checkpoint(lake)
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "copy", place)
    plant(5)
    assert run().featurized == 5
    (why,) = told(caplog)
    assert "the features table knows micro-batch" in why
    assert_complete(lake, landing)


@pytest.mark.long
def test_another_lakes_checkpoint(
    run: Run,
    landing: Path,
    lake: LakePaths,
    plant: Callable[[int], None],
    embedded: Compiled,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told by the id of the arrivals table that it reads."""
    other = create_lake(str(tmp_path / "other"))
    save(embedded, other.backbones)
    run(lake=str(other.root))
    run()
    place = checkpoint(lake)
    shutil.rmtree(place)
    shutil.copytree(checkpoint(other), place)
    plant(5)
    assert run().featurized == 5
    assert told(caplog) == ["it reads another lake's arrivals"]
    assert_complete(lake, landing)


@pytest.mark.long
def test_the_newest_micro_batch_torn_out(
    run: Run, landing: Path, lake: LakePaths, plant: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Its offsets and its commit are gone: planned anew under its number, the next arrivals would be lost."""
    run(batch_pictures=12)
    for kind in ("offsets", "commits"):
        newest = max((checkpoint(lake) / kind).glob("[0-9]*"), key=lambda path: int(path.name))
        newest.unlink()
        newest.with_name(f".{newest.name}.crc").unlink()
    plant(5)
    assert run().featurized == 5
    assert len(told(caplog)) == 1
    assert_complete(lake, landing)


@pytest.mark.long
def test_an_adoption_that_is_killed_is_completed_by_the_next_run(
    run: Run, landing: Path, lake: LakePaths, plant: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two of its commits, and again before its query starts."""
    run(batch_pictures=12)
    shutil.rmtree(local(lake.checkpoints))
    plant(10)

    class Killed(Exception):
        pass

    with monkeypatch.context() as broken:
        append, commits = query.append, 0

        def once(*arguments: Any) -> MicroBatch:
            nonlocal commits
            commits += 1
            if commits > 1:
                raise Killed
            return append(*arguments)

        broken.setattr(query, "append", once)
        with pytest.raises(Killed):
            run(batch_pictures=4)
    assert len(outcomes(lake)) == 24 + 4
    with monkeypatch.context() as broken:

        def never(*_: object) -> int:
            raise Killed

        broken.setattr(adoption, "version_after", never)
        with pytest.raises(Killed):
            run(batch_pictures=4)
    assert len(outcomes(lake)) == 34
    plant(1)
    assert run(batch_pictures=4).featurized == 1
    assert_complete(lake, landing)


@pytest.mark.long
def test_a_first_micro_batch_that_fails_after_an_adoption_doubles_nothing(
    run: Run, landing: Path, lake: LakePaths, plant: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark would plan it again from the whole snapshot at its end, all that has an outcome included."""
    run()
    shutil.rmtree(local(lake.checkpoints))
    plant(2)
    start, late = query.start, False

    def failing(features: DataFrame, *arguments: Any, **options: Any) -> StreamingQuery:
        return start(features.where("assert_true(uri IS NULL) IS NULL"), *arguments, **options)

    def completed(totals: Totals) -> bool:
        nonlocal late
        if totals.featurized == 2 and "running" in {each.state for each in totals.featurizers.values()} and not late:
            late = True
            plant(1)
        return totals.featurized == 3

    with monkeypatch.context() as broken:
        broken.setattr(query, "start", failing)
        run(once=False, poll=0.2, watch=completed)
    plant(1)
    assert run().featurized == 1
    assert_complete(lake, landing)


@pytest.mark.long
def test_a_lost_file_of_arrivals_ends_with_its_reason(run: Run, lake: LakePaths, plant: Callable[[int], None]) -> None:
    """What no checkpoint can mend is not tried for ever."""
    run()
    plant(2)
    with pytest.raises(StreamError):
        run(watch=lambda totals: _lose_newest(lake))


def _lose_newest(lake: LakePaths) -> bool:
    files = sorted(local(lake.root / "arrivals").glob("*.parquet"), key=lambda path: path.stat().st_mtime)
    if len(files) > 1:
        files[-1].unlink()
    return False


def test_a_drain_makes_what_a_restored_table_lacks(
    run: Run, landing: Path, lake: LakePaths, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing has landed, the checkpoint is right, and rows of features are gone: they are there again at the end."""
    run(batch_pictures=8)
    DeltaTable(lake.table(FEATURES)).restore(DeltaTable(lake.table(FEATURES)).version() - 1)
    assert len(outcomes(lake)) < 24
    assert run().backlog == 0
    assert [why for why in told(caplog) if "the audit found" in why]
    assert_complete(lake, landing)


def test_the_audit_finds_what_is_missing(
    run: Run, landing: Path, lake: LakePaths, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that somebody deleted from features are made again while the stream runs."""
    run()
    gone = pa.compute.min(DeltaTable(lake.table(FEATURES)).to_pyarrow_table(columns=["uri"])["uri"]).as_py()
    DeltaTable(lake.table(FEATURES)).delete(f"uri = '{gone}'")
    assert len(outcomes(lake)) == 23
    run(once=False, audit=1.0, poll=0.2, watch=lambda totals: totals.featurized == 1)
    assert [why for why in told(caplog) if "the audit found 1 arrivals" in why]
    assert_complete(lake, landing)
