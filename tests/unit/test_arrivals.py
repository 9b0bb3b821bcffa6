import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import StorageError
from conf.schemas import ARRIVALS, TIMESTAMP
from conf.tables import ensure
from streaming.arrivals import HASH, Arrivals, Attempt, Known, identities, identity
from streaming.discovery.sighting import Found

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)


def pictures(*numbers: int, version: str = "5-1") -> list[Found]:
    """Give one version of each of these pictures, as a listing finds them."""
    return [
        Found(f"file:///landing/{number}.jpg", version, MORNING + timedelta(seconds=number), 5) for number in numbers
    ]


def opened(place: str) -> Arrivals:
    """Give a writer that has read the table."""
    arrivals = Arrivals(place)
    assert len(arrivals) >= 0
    return arrivals


def append(arrivals: Arrivals, found: list[Found], rows_per_file: int = 100) -> list[int]:
    """Append and give the rows of each commit."""
    return list(arrivals.append(found, route="listing", rows_per_file=rows_per_file))


def stored(place: str) -> list[dict[str, Any]]:
    """Read the table, sorted by URI and version."""
    rows: list[dict[str, Any]] = DeltaTable(place).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: (row["uri"], row["e_tag"]))


def uris(place: str) -> list[str]:
    """Give the names of the pictures in the table."""
    return [Path(row["uri"]).stem for row in stored(place)]


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Create an empty arrivals table."""
    place = str(tmp_path / "arrivals")
    ensure(ARRIVALS, place)
    return place


def test_a_picture_becomes_a_row(place: str) -> None:
    """A row holds what discovery saw, when, by which route, as the first attempt."""
    before = datetime.now(UTC)
    assert list(Arrivals(place).append(pictures(1), route="notification", rows_per_file=10)) == [1]
    (row,) = stored(place)
    assert before <= row.pop("discovered_at") <= datetime.now(UTC)
    assert row == {
        "uri": "file:///landing/1.jpg",
        "e_tag": "5-1",
        "landed_at": MORNING + timedelta(seconds=1),
        "size": 5,
        "version": None,
        "attempt": 1,
        "route": "notification",
    }


def test_a_version_is_appended_once_however_often_it_is_found(place: str) -> None:
    """Repeated polls, overlapping polls and repetitions within a poll add nothing and commit nothing."""
    arrivals = Arrivals(place)
    assert append(arrivals, [*pictures(1, 2), *pictures(2, 1)]) == [2]
    assert append(arrivals, pictures(1, 2)) == []
    assert append(arrivals, pictures(2, 3)) == [1]
    assert uris(place) == ["1", "2", "3"]
    assert len(arrivals) == 3
    assert DeltaTable(place).version() == 2


def test_nothing_found_commits_nothing(place: str) -> None:
    """An empty poll leaves the table alone."""
    assert append(Arrivals(place), []) == []
    assert DeltaTable(place).version() == 0


@pytest.mark.parametrize("change", [{"e_tag": "6-2"}, {"landed_at": MORNING}])
def test_an_overwritten_picture_arrives_again(change: dict[str, Any], place: str) -> None:
    """Another e_tag or another time of landing is another version."""
    arrivals = Arrivals(place)
    (first,) = pictures(1)
    append(arrivals, [first])
    assert append(arrivals, [Found(**{**vars(first), **change})]) == [1]
    assert uris(place) == ["1", "1"]


def test_files_hold_at_most_the_given_rows(place: str) -> None:
    """One commit is one file of bounded rows: micro-batches take whole files."""
    assert append(Arrivals(place), pictures(*range(10)), rows_per_file=4) == [4, 4, 2]
    actions = pa.table(DeltaTable(place).get_add_actions(flatten=True))
    assert sorted(actions["num_records"].to_pylist()) == [2, 4, 4]
    assert len(set(uris(place))) == 10


def test_the_bound_holds_across_pages_of_the_listing(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listing is taken page by page; files fill up over pages, and what repeats on a later page arrives once."""
    monkeypatch.setattr("streaming.arrivals._PAGE", 3)
    found = [*pictures(*range(10)), *pictures(*range(10))]
    assert append(Arrivals(place), found, rows_per_file=4) == [4, 4, 2]
    assert sorted(uris(place)) == sorted(map(str, range(10)))


def test_the_listing_is_taken_as_it_comes(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first file is committed before the listing has ended."""
    monkeypatch.setattr("streaming.arrivals._PAGE", 2)
    taken: list[Found] = []

    def listing() -> Iterator[Found]:
        for each in pictures(*range(10)):
            taken.append(each)
            yield each

    assert next(Arrivals(place).append(listing(), route="listing", rows_per_file=2)) == 2
    assert len(taken) == 2


def test_a_restart_knows_what_has_arrived(place: str) -> None:
    """A new process reads the versions from the table, to the microsecond of their times."""
    found = [
        Found("file:///l/p%C3%AAche.jpg", "1-1", datetime(2026, 1, 1, 0, 0, 0, 123_457, tzinfo=UTC), 1),
        *pictures(1),
    ]
    append(Arrivals(place), found)
    again = Arrivals(place)
    assert len(again) == 2
    assert append(again, [*found, *pictures(2)]) == [1]


def test_a_second_writer_never_adds_a_version_twice(place: str) -> None:
    """A writer whose snapshot is old is refused, looks again, and appends only what is really new."""
    first, second = opened(place), opened(place)
    assert append(first, pictures(1, 2, 3)) == [3]
    assert append(second, pictures(2, 3, 4)) == [1]
    assert uris(place) == ["1", "2", "3", "4"]
    assert append(first, pictures(1, 2, 3, 4, 5)) == [1]
    assert uris(place) == ["1", "2", "3", "4", "5"]
    assert len(second) == 4


def test_a_second_writer_that_brings_nothing_new_commits_nothing(place: str) -> None:
    """The loser of a race over the same pictures ends with zero rows and knows them."""
    first, second = opened(place), opened(place)
    append(first, pictures(1, 2))
    assert append(second, pictures(1, 2)) == []
    assert len(second) == 2
    assert DeltaTable(place).version() == 1


def test_each_append_is_a_transaction(place: str) -> None:
    """The application's version grows by one with each commit; that is what refuses a late one."""
    arrivals = Arrivals(place)
    append(arrivals, pictures(1, 2), rows_per_file=1)
    assert DeltaTable(place).transaction_version("verger-arrivals") == 2


@pytest.mark.parametrize("error", [DeltaError("broken"), OSError(28, "No space left on device")])
def test_a_failing_write_loses_nothing(error: Exception, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The world's fault is a StorageError; the next poll appends the same pictures, each once."""
    arrivals = Arrivals(place)
    append(arrivals, pictures(1))

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("streaming.arrivals.write_deltalake", fail)
        with pytest.raises(StorageError, match="arrivals cannot be written: "):
            append(arrivals, pictures(1, 2, 3))
    assert len(arrivals) == 1
    assert append(arrivals, pictures(1, 2, 3)) == [2]
    assert uris(place) == ["1", "2", "3"]


def test_a_commit_whose_answer_was_lost_is_not_repeated(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the commit happened and the error came after it, the table tells, and no picture arrives twice."""
    arrivals = Arrivals(place)

    def write_and_fail(*args: Any, **kwargs: Any) -> None:
        write_deltalake(*args, **kwargs)
        raise OSError(110, "Connection timed out")

    with monkeypatch.context() as patch:
        patch.setattr("streaming.arrivals.write_deltalake", write_and_fail)
        with pytest.raises(StorageError):
            append(arrivals, pictures(1, 2))
    assert append(arrivals, pictures(1, 2)) == []
    assert uris(place) == ["1", "2"]


def test_files_before_a_failure_stay(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that fails at its second file keeps the first; the next poll brings the rest."""
    arrivals = Arrivals(place)
    answers = iter([write_deltalake])

    def write_once(*args: Any, **kwargs: Any) -> None:
        write = next(answers, None)
        if write is None:
            raise OSError(5, "Input/output error")
        write(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("streaming.arrivals.write_deltalake", write_once)
        with pytest.raises(StorageError):
            append(arrivals, pictures(1, 2, 3), rows_per_file=2)
    assert uris(place) == ["1", "2"]
    assert append(arrivals, pictures(1, 2, 3)) == [1]


def test_a_writer_that_goes_on_for_long_opens_the_table_anew(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory would grow with every append; what another writer has appended meanwhile is still not doubled."""
    monkeypatch.setattr("streaming.arrivals._REOPEN_EVERY", 2)
    arrivals, other = Arrivals(place), Arrivals(place)
    handles = set()
    for number in range(1, 7):
        assert append(arrivals, pictures(number)) == [1]
        handles.add(id(arrivals._table))
        if number == 3:
            assert append(other, pictures(7)) == [1]
    assert append(arrivals, pictures(7)) == []
    assert uris(place) == [str(number) for number in range(1, 8)]
    assert len(handles) > 1


def test_losing_every_race_is_a_storage_error(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conflict that repeats is the world's fault, which the next poll meets again; it does not end the run."""

    def conflict(*args: Any, **kwargs: Any) -> None:
        raise CommitFailedError("Transaction failed")

    monkeypatch.setattr("streaming.arrivals.write_deltalake", conflict)
    with pytest.raises(StorageError):
        append(Arrivals(place), pictures(1))


@pytest.mark.parametrize("open_", [opened, Arrivals])
def test_a_table_that_does_not_answer_at_all_is_a_storage_error(open_: Callable[[str], Arrivals], place: str) -> None:
    """While the lake's disk is away, neither writing nor reading works: still a StorageError, and the run waits."""
    arrivals = open_(place)
    shutil.rmtree(place)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"arrivals cannot be (written|read): "):
            append(arrivals, pictures(1))


def test_bytes_per_row_are_measured(place: str) -> None:
    """They are the stored bytes of a file with enough rows over its rows, the largest one deciding."""
    arrivals = Arrivals(place)
    append(arrivals, pictures(*range(100)))
    append(arrivals, pictures(*range(1000, 1300)), rows_per_file=300)
    append(arrivals, pictures(*range(2000, 2080)))
    sizes = [path.stat().st_size for path in Path(place).glob("*.parquet")]
    assert arrivals.bytes_per_row() == pytest.approx(max(sizes) / 300)


def test_bytes_per_row_follow_the_newest_files(place: str) -> None:
    """What the landing's names were like long ago does not decide how much a micro-batch takes today."""
    arrivals = Arrivals(place)
    append(arrivals, pictures(*range(300)), rows_per_file=300)
    append(arrivals, pictures(*range(1000, 1000 + 64 * 64)), rows_per_file=64)
    before = set(Path(place).glob("*.parquet"))
    append(arrivals, pictures(*range(9000, 9070)))
    (newest,) = set(Path(place).glob("*.parquet")) - before
    assert arrivals.bytes_per_row() == newest.stat().st_size / 70


@pytest.mark.parametrize("rows", [0, 63])
def test_bytes_per_row_are_assumed_while_files_are_small(rows: int, place: str) -> None:
    """A small file is mostly its footer and tells nothing."""
    arrivals = Arrivals(place)
    append(arrivals, pictures(*range(rows)))
    assert arrivals.bytes_per_row() == 40.0


def test_a_retry_is_a_row_of_its_own(place: str) -> None:
    """Another attempt at a version that arrived is appended once; it counts as discovered when told, or later."""
    arrivals = Arrivals(place)
    append(arrivals, pictures(1, 2))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    attempts = [*(Attempt(each, 2, tomorrow) for each in pictures(1, 1)), *(Attempt(each, 2) for each in pictures(2))]
    assert list(arrivals.repeat(attempts, rows_per_file=100)) == [2]
    assert list(arrivals.repeat(attempts, rows_per_file=100)) == []
    assert append(arrivals, pictures(1, 2)) == []
    rows = [row for row in stored(place) if row["attempt"] == 2]
    assert [(row["uri"], row["e_tag"], row["size"], row["route"]) for row in rows] == [
        (f"file:///landing/{number}.jpg", "5-1", 5, "retry") for number in (1, 2)
    ]
    assert rows[0]["discovered_at"] == tomorrow
    assert rows[1]["discovered_at"] < tomorrow
    assert len(arrivals) == len(Arrivals(place)) == 4


def test_what_is_held_back_does_not_arrive(place: str) -> None:
    """Each new version is asked about; what arrived before is not."""
    arrivals, asked = Arrivals(place), list[str]()
    append(arrivals, pictures(1))

    def unless(uri: str) -> bool:
        asked.append(uri)
        return uri.endswith("2.jpg")

    found = pictures(1, 2, 3)
    assert list(arrivals.append(found, route="listing", rows_per_file=100, unless=unless)) == [1]
    assert uris(place) == ["1", "3"]
    assert asked == [each.uri for each in found[1:]]
    assert append(arrivals, pictures(2)) == [1]


def test_after_a_reload_only_the_table_counts(place: str) -> None:
    """What was deleted from the table, as by a takedown, may arrive again."""
    arrivals = Arrivals(place)
    append(arrivals, pictures(1, 2))
    DeltaTable(place).delete("uri LIKE '%1.jpg'")
    assert append(arrivals, pictures(1)) == []
    arrivals.reload()
    assert len(arrivals) == 1
    assert append(arrivals, pictures(1, 2)) == [1]


def test_an_identity_tells_versions_apart() -> None:
    """Sixteen bytes of URI, e_tag, time and attempt: each of them counts, and neighbours do not run together."""
    later = MORNING + timedelta(microseconds=1)
    different = [("a", "b", MORNING), ("ab", "", MORNING), ("", "ab", MORNING), ("a", "b", later)]
    found = {*(identity(*each) for each in different), identity("a", "b", MORNING, 2)}
    assert len(found) == 5
    assert {len(each) for each in found} == {16}
    assert identity("a", "b", MORNING) == identity("a", "b", MORNING.astimezone())


moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
rows = st.tuples(st.text(max_size=4), st.text(max_size=4), moments, st.integers(1, 2**31 - 1))


@given(st.lists(rows, max_size=8))
def test_the_identities_of_a_batch_are_those_of_its_rows(rows: list[tuple[str, str, datetime, int]]) -> None:
    """Of any table that has the columns, in whatever order they stand, also before 1970 and of a slice."""
    columns: list[Any] = [list(each) for each in zip(*rows, strict=True)] or [[], [], [], []]
    batch = pa.record_batch(
        {
            "attempt": pa.array(columns[3], pa.int32()),
            "landed_at": pa.array(columns[2], TIMESTAMP),
            "e_tag": pa.array(columns[1], pa.string()),
            "uri": pa.array(columns[0], pa.string()),
        }
    )
    found = identities(batch)
    assert found.dtype == HASH
    assert [bytes(each).ljust(16, b"\0") for each in found] == [identity(*row) for row in rows]
    assert (identities(batch.slice(1)) == found[1:]).all()


# Few distinct bytes, many zeros at the end: numpy strips them from fixed-width bytes.
hashes = st.lists(st.sampled_from([0, 0, 1, 255]), max_size=16).map(lambda head: bytes(head).ljust(16, b"\0"))


@given(st.lists(st.lists(hashes, max_size=8), max_size=12), st.integers(1, 7))
def test_known_is_a_set(pages: list[list[bytes]], merge_at: int) -> None:
    """On both sides of every merge, `missing` gives just what was never added, in its order, trailing zeros and all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streaming.arrivals._MERGE_AT", merge_at)
        known, reference = Known(), set[bytes]()
        for page in pages:
            missing = known.missing(page)
            assert missing == [each for each in page if each not in reference]
            known.add(missing)
            reference |= set(page)
            assert len(known) == len(reference)
            assert known.missing(reference) == []


def test_known_counts_a_version_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is added again after a merge is still one."""
    monkeypatch.setattr("streaming.arrivals._MERGE_AT", 2)
    known = Known()
    known.add([b"a" * 16, b"b" * 16])
    known.add([b"a" * 16])
    assert len(known) == 2
