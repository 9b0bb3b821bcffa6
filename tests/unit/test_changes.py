import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.rows.changes import Changes, Difference, FeedGone, difference, read_changes, touched
from batch.rows.parts import Part, PartGone, read
from batch.rows.winners import snapshot, winners
from conf import compaction, deletion, upkeep
from conf.schemas import FEATURES
from tests.unit.lakes import MORNING, ONE, OTHER, Orchard, seconds

Vectors = list[tuple[str, list[float]]]


def place(orchard: Orchard) -> str:
    """Give where its features lie."""
    return orchard.paths.table(FEATURES)


def changes(orchard: Orchard, since: int, featurizer: str = ONE) -> Changes:
    """Read what changed after a version."""
    return read_changes(place(orchard), featurizer, since, orchard.version(FEATURES))


def compared(orchard: Orchard, found: Changes, featurizer: str = ONE) -> Difference:
    """Compare what counted before changes with what counts now."""
    now = winners(snapshot(place(orchard), featurizer, found.until), touched(found))
    return difference(found, now.rows)


def differs(orchard: Orchard, since: int, featurizer: str = ONE) -> tuple[Vectors, Vectors]:
    """Read the vectors that no longer count and those that do now."""
    found = compared(orchard, changes(orchard, since, featurizer), featurizer)
    removed, added = vectors(found.removed), vectors(found.added)
    assert (found.n_removed, found.n_added) == (len(removed), len(added))
    return removed, added


def vectors(parts: Iterable[Part]) -> Vectors:
    """Read uris and features, sorted."""
    batches = [batch for part in parts for batch in read(part, ["uri", "features"])]
    return sorted((row["uri"], row["features"]) for batch in batches for row in batch.to_pylist())


def counting(orchard: Orchard, version: int) -> Vectors:
    """Read what counts in a version."""
    found = winners(snapshot(place(orchard), ONE, version), pa.array([], pa.string()))
    return [(uri, features) for uri, features in vectors(found.parts) if features is not None]


def delete(orchard: Orchard, *uris: str) -> None:
    """Forget pictures."""
    deletion.delete_pictures(place(orchard), uris)


def compact(orchard: Orchard) -> None:
    """Merge small files as upkeep does, though they are few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "_FEW_FILES", 2)
        compaction.compact(place(orchard), featurizer=ONE)


@pytest.fixture(params=["by condition", "by merging"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delete few pictures as few, and as if they were many."""
    if request.param == "by merging":
        monkeypatch.setattr(deletion, "_FEW", 0)


class TestInserted:
    """What rows that came mean."""

    def test_a_new_picture_is_added(self, orchard: Orchard) -> None:
        """With its label, or with none."""
        orchard.outcome({"uri": "a"})
        orchard.outcome({"uri": "b", "label": "plum", "features": [3.0]}, {"uri": "c", "features": [4.0]})
        assert differs(orchard, 1) == ([], [("b", [3.0]), ("c", [4.0])])
        assert compared(orchard, changes(orchard, 1)).added_labels == {"plum", None}

    def test_a_late_insert_that_loses_changes_nothing(self, orchard: Orchard) -> None:
        """A newer version of the picture was there before."""
        orchard.outcome({"uri": "a", "landed_at": seconds(9)})
        orchard.outcome({"uri": "a", "landed_at": seconds(5)})
        assert differs(orchard, 1) == ([], [])
        assert touched(changes(orchard, 1)).to_pylist() == ["a"]

    def test_a_late_insert_that_wins_over_what_was_there(self, orchard: Orchard) -> None:
        """And not over what came with it."""
        orchard.outcome({"uri": "a", "landed_at": seconds(1), "features": [1.0]})
        orchard.outcome({"uri": "a", "landed_at": seconds(9), "features": [9.0]})
        orchard.outcome({"uri": "a", "landed_at": seconds(5), "features": [5.0]})
        assert differs(orchard, 1) == ([("a", [1.0])], [("a", [9.0])])

    def test_an_overwritten_picture_is_replaced(self, orchard: Orchard) -> None:
        """The older vector goes, the newer comes."""
        orchard.outcome({"uri": "a", "features": [1.0]}, {"uri": "b"})
        orchard.outcome({"uri": "a", "e_tag": "2-2", "landed_at": seconds(1), "features": [2.0]})
        assert differs(orchard, 1) == ([("a", [1.0])], [("a", [2.0])])

    def test_a_rejection_that_is_newest_removes(self, orchard: Orchard) -> None:
        """A rejection of what was never there changes nothing."""
        orchard.outcome({"uri": "a", "features": [1.0]})
        orchard.outcome({"uri": "a", "landed_at": seconds(1), "rejection": "empty"}, {"uri": "b", "rejection": "empty"})
        assert differs(orchard, 1) == ([("a", [1.0])], [])

    def test_a_retry_after_a_rejection_adds(self, orchard: Orchard) -> None:
        """It removes nothing: there were no features."""
        orchard.outcome({"uri": "a", "rejection": "empty"})
        orchard.outcome({"uri": "a", "attempt": 2, "features": [2.0]})
        assert differs(orchard, 1) == ([], [("a", [2.0])])

    def test_a_row_that_comes_twice_is_added_once(self, orchard: Orchard) -> None:
        """It must not happen."""
        orchard.outcome({"uri": "a"}, {"uri": "a"})
        orchard.outcome({"uri": "a"})
        assert differs(orchard, 0) == ([], [("a", [1.0, 2.0])])
        assert differs(orchard, 1) == ([], [])


@pytest.mark.usefixtures("either_way")
class TestDeleted:
    """What rows that left mean, by either way in which they are deleted."""

    def test_a_deleted_picture_is_removed(self, orchard: Orchard) -> None:
        """Its vector lies in a change file; those that shared its file stay."""
        orchard.outcome({"uri": "a", "features": [1.0]}, {"uri": "b"})
        delete(orchard, "a")
        assert differs(orchard, 1) == ([("a", [1.0])], [])
        assert "_change_data" in compared(orchard, changes(orchard, 1)).removed[0].path

    def test_the_last_row_of_a_file(self, orchard: Orchard) -> None:
        """The file goes as a whole, and what it held still is in the feed, once."""
        orchard.outcome({"uri": "a", "features": [1.0]})
        delete(orchard, "a")
        assert changes(orchard, 1).deleted.num_rows == 1
        assert differs(orchard, 1) == ([("a", [1.0])], [])

    def test_an_insert_and_its_deletion_cancel(self, orchard: Orchard) -> None:
        """Nothing of the picture was there before, or is now."""
        orchard.outcome({"uri": "a"})
        orchard.outcome({"uri": "b"}, {"uri": "c", "features": [3.0]})
        delete(orchard, "b")
        assert touched(changes(orchard, 1)).to_pylist() == ["c"]
        assert differs(orchard, 1) == ([], [("c", [3.0])])

    def test_what_left_and_came_again_is_replaced(self, orchard: Orchard) -> None:
        """The same version of a picture may have other features now, or a rejection, or another label."""
        orchard.outcome({"uri": "a", "features": [1.0]}, {"uri": "b", "features": [1.0]}, {"uri": "c"})
        delete(orchard, "a", "b")
        orchard.outcome({"uri": "a", "features": [0.5]})
        delete(orchard, "a")
        orchard.outcome({"uri": "a", "features": [2.0], "label": "fig"}, {"uri": "b", "rejection": "gone"})
        assert differs(orchard, 1) == ([("a", [1.0]), ("b", [1.0])], [("a", [2.0])])
        assert compared(orchard, changes(orchard, 1)).added_labels == {"fig"}

    def test_rows_of_several_featurizers(self, orchard: Orchard) -> None:
        """A takedown deletes from all of them in one commit; each sees its own."""
        for number, featurizer in enumerate((ONE, OTHER)):
            orchard.outcome({"uri": "a", "features": [number]}, {"uri": "b"}, featurizer=featurizer)
        delete(orchard, "a")
        assert differs(orchard, 2) == ([("a", [0.0])], [])
        assert differs(orchard, 2, OTHER) == ([("a", [1.0])], [])


class TestDeletedByCondition:
    """What is not deleted by naming pictures."""

    def test_deleting_the_newest_brings_the_older_back(self, orchard: Orchard) -> None:
        """From where it still lies."""
        orchard.outcome({"uri": "a", "features": [1.0]}, {"uri": "b"})
        orchard.outcome({"uri": "a", "attempt": 2, "features": [2.0]})
        deletion.delete_rows(place(orchard), "attempt = 2")
        assert differs(orchard, 2) == ([("a", [2.0])], [("a", [1.0])])

    def test_deleting_an_older_row_changes_nothing(self, orchard: Orchard) -> None:
        """It did not count."""
        orchard.outcome({"uri": "a", "features": [1.0]}, {"uri": "b"})
        orchard.outcome({"uri": "a", "attempt": 2, "features": [2.0]})
        deletion.delete_rows(place(orchard), "uri = 'a' AND attempt = 1")
        assert differs(orchard, 2) == ([], [])

    def test_deleting_a_whole_featurizer_removes_all(self, orchard: Orchard) -> None:
        """Such a commit has no change files: it removes files, which hold losers and rejections, too."""
        orchard.outcome({"uri": "a", "features": [1.0]}, {"uri": "b", "rejection": "empty"})
        orchard.outcome({"uri": "a", "attempt": 2, "features": [2.0]})
        orchard.outcome({"uri": "a"}, featurizer=OTHER)
        deletion.delete_rows(place(orchard), f"featurizer = '{ONE}'")
        assert differs(orchard, 3) == ([("a", [2.0])], [])
        assert differs(orchard, 3, OTHER) == ([], [])

    def test_a_label_with_a_line_separator(self, orchard: Orchard) -> None:
        """It stands in the log as it is."""
        orchard.outcome({"uri": "a", "label": "one\u2028two"})
        assert compared(orchard, changes(orchard, 0)).added_labels == {"one\u2028two"}


class TestNoChange:
    """What is no change of one featurizer's rows."""

    def test_nothing_happened(self, orchard: Orchard) -> None:
        """A version differs from itself in nothing."""
        orchard.outcome({"uri": "a"})
        found = changes(orchard, 1)
        assert (found.inserted.num_rows, found.deleted.num_rows, len(touched(found))) == (0, 0, 0)
        assert compared(orchard, found) == Difference([], [], 0, 0, frozenset())

    def test_compaction(self, orchard: Orchard) -> None:
        """Neither of what was there before, nor of what came since."""
        orchard.outcome({"uri": "a", "features": [1.0]})
        orchard.outcome({"uri": "b", "features": [2.0]})
        orchard.outcome({"uri": "a", "attempt": 2, "features": [3.0]})
        compact(orchard)
        assert differs(orchard, 3) == ([], [])
        assert differs(orchard, 1) == ([("a", [1.0])], [("a", [3.0]), ("b", [2.0])])

    def test_other_featurizers(self, orchard: Orchard) -> None:
        """Whatever they have of the same pictures."""
        orchard.outcome({"uri": "a"})
        orchard.outcome({"uri": "a", "attempt": 2}, {"uri": "b"}, featurizer=OTHER)
        delete(orchard, "b")
        assert differs(orchard, 1) == ([], [])
        assert len(touched(changes(orchard, 1))) == 0


class TestFeedGone:
    """Where the log and its files do not tell all, that is said, before anything is believed."""

    def test_a_version_before_the_table_began_anew(self, orchard: Orchard) -> None:
        """Its versions are counted from zero again."""
        with pytest.raises(FeedGone, match="features are at version 0 and were at 7 before: the table was made anew"):
            changes(orchard, 7)

    def test_a_trimmed_log(self, orchard: Orchard) -> None:
        """The first entry that is missing is named; one that is not needed may be."""
        for uri in "abc":
            orchard.outcome({"uri": uri})
        log = Path(place(orchard), "_delta_log")
        DeltaTable(place(orchard)).create_checkpoint()
        (log / f"{1:020}.json").unlink()
        assert len(touched(changes(orchard, 1))) == 2
        with pytest.raises(FeedGone, match="the log no longer holds version 1"):
            changes(orchard, 0)

    def test_a_damaged_entry_of_the_log(self, orchard: Orchard) -> None:
        """As of a disk that was full."""
        orchard.outcome({"uri": "a"})
        Path(place(orchard), "_delta_log", f"{1:020}.json").write_text('{"add":')
        with pytest.raises(FeedGone, match="what the log says of version 1 cannot be read: "):
            read_changes(place(orchard), ONE, 0, 1)

    @pytest.mark.parametrize("event", [lambda orchard: delete(orchard, "a"), compact], ids=["deleted", "compacted"])
    def test_vacuumed_files(self, orchard: Orchard, event: Callable[[Orchard], None]) -> None:
        """Of change files, and of rows that came and were compacted since."""
        orchard.outcome({"uri": "a"}, {"uri": "b"})
        orchard.outcome({"uri": "c"})
        event(orchard)
        now = datetime.now(UTC)
        version = orchard.version(FEATURES)
        assert upkeep.vacuum(place(orchard), now + timedelta(hours=1), now) == 2
        with pytest.raises(FeedGone, match="VACUUM has deleted files that held changes since then"):
            read_changes(place(orchard), ONE, 0, version)
        with pytest.raises(FeedGone):
            read_changes(place(orchard), ONE, 1, version)
        assert read_changes(place(orchard), ONE, version, orchard.version(FEATURES)).inserted.num_rows == 0

    def test_a_missing_file_is_noticed_before_any_is_read(
        self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The order does not matter."""
        orchard.outcome({"uri": "a"})
        orchard.outcome({"uri": "b"})
        (path,) = (part.path for part in snapshot(place(orchard), ONE).parts if "b" in str(vectors([part])))
        Path(path).unlink()
        monkeypatch.setattr("batch.rows.changes.rows_of", None)
        with pytest.raises(FeedGone):
            changes(orchard, 0)

    def test_a_file_with_other_rows_than_the_log_says(self, orchard: Orchard) -> None:
        """Of what was inserted."""
        orchard.outcome({"uri": "a"}, {"uri": "b"})
        (part,) = snapshot(place(orchard), ONE).parts
        halved(part.path)
        with pytest.raises(FeedGone, match=r"\.parquet holds 1 rows and the log says 2"):
            changes(orchard, 0)

    @pytest.mark.usefixtures("either_way")
    def test_change_files_with_other_rows_than_the_commit_tells_of(self, orchard: Orchard) -> None:
        """All featurizers' together, as the commit counts them."""
        for featurizer in (ONE, OTHER):
            orchard.outcome({"uri": "a"}, {"uri": "b"}, {"uri": "c"}, featurizer=featurizer)
        delete(orchard, "a", "b")
        assert changes(orchard, 2).deleted.num_rows == 2
        halved(next(str(path) for path in Path(place(orchard), "_change_data").rglob("*.parquet")))
        with pytest.raises(FeedGone, match="version 3 tells of 4 changed rows and its files hold 3"):
            changes(orchard, 2)

    def test_removed_files_with_other_rows_than_the_commit_tells_of(self, orchard: Orchard) -> None:
        """Where there are no change files."""
        orchard.outcome({"uri": "a"}, {"uri": "b"})
        (part,) = snapshot(place(orchard), ONE).parts
        deletion.delete_rows(place(orchard), f"featurizer = '{ONE}'")
        halved(part.path)
        with pytest.raises(FeedGone, match="version 2 tells of 2 changed rows and its files hold 1"):
            changes(orchard, 1)

    def test_a_removal_that_does_not_say_of_what(self, orchard: Orchard) -> None:
        """The protocol lets a writer leave out the partition."""
        orchard.outcome({"uri": "a"})
        action = {"remove": {"path": "featurizer=x/file", "dataChange": True}}
        Path(place(orchard), "_delta_log", f"{2:020}.json").write_text(json.dumps(action))
        with pytest.raises(FeedGone, match="version 2 does not say whose rows it changed"):
            read_changes(place(orchard), ONE, 1, 2)

    def test_more_rows_than_one_can_hold(self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """Known before any is read; others' rows do not matter."""
        monkeypatch.setattr("batch.rows.changes._MOST_ROWS", 2)
        orchard.outcome({"uri": "a"}, {"uri": "b"})
        orchard.outcome({"uri": "a"}, {"uri": "b"}, featurizer=OTHER)
        assert changes(orchard, 0).inserted.num_rows == 2
        orchard.outcome({"uri": "c"})
        monkeypatch.setattr("batch.rows.changes.rows_of", None)
        with pytest.raises(FeedGone, match="3 rows have changed, which are more than are followed one by one"):
            changes(orchard, 0)

    def test_rows_that_the_log_tells_of_and_the_table_does_not_hold(self, orchard: Orchard) -> None:
        """The two must be of one version."""
        orchard.outcome({"uri": "a"})
        orchard.outcome({"uri": "a", "attempt": 2})
        found = changes(orchard, 1)
        older = winners(snapshot(place(orchard), ONE, 1), touched(found))
        with pytest.raises(FeedGone, match="the log tells of rows that the table does not hold"):
            difference(found, older.rows)

    def test_a_file_that_vanishes_after_the_changes_were_read(self, orchard: Orchard) -> None:
        """Is a part that is gone: a newer version is to be read."""
        orchard.outcome({"uri": "a"}, {"uri": "b"})
        delete(orchard, "a")
        found = changes(orchard, 1)
        for path in Path(place(orchard), "_change_data").rglob("*.parquet"):
            path.unlink()
        with pytest.raises(PartGone):
            compared(orchard, found)


def halved(path: str) -> None:
    """Leave half of a file's rows."""
    rows = pq.ParquetFile(path).read()
    pq.write_table(rows.slice(0, rows.num_rows // 2), path)


def test_updates_of_another_writer_are_understood(orchard: Orchard) -> None:
    """Their change files hold each row as it was and as it is: it left, and came again."""
    orchard.outcome({"uri": "a", "features": [1.0], "label": "fig"}, {"uri": "b", "features": [2.0]})
    DeltaTable(place(orchard)).update({"label": "'plum'"}, predicate="uri = 'a'")
    assert differs(orchard, 1) == ([("a", [1.0])], [("a", [1.0])])
    assert compared(orchard, changes(orchard, 1)).added_labels == {"plum"}


def test_files_rewritten_without_change_files_are_understood(orchard: Orchard) -> None:
    """As while the change feed was off: what was written anew counts as before."""
    orchard.outcome({"uri": "a", "features": [1.0]}, {"uri": "b", "features": [2.0]}, {"uri": "b", "attempt": 2})
    upkeep.configure(place(orchard), {"delta.enableChangeDataFeed": "false"})
    delete(orchard, "a")
    since = orchard.version(FEATURES) - 1
    assert differs(orchard, since) == ([("a", [1.0]), ("b", [1.0, 2.0])], [("b", [1.0, 2.0])])


outcomes = st.fixed_dictionaries(
    {
        "uri": st.sampled_from("abcd"),
        "landed_at": st.integers(0, 2).map(lambda number: MORNING + timedelta(seconds=number)),
        "attempt": st.integers(1, 2),
        "label": st.sampled_from(["plum", None]),
    },
    optional={"rejection": st.just("empty")},
)
events = st.one_of(
    st.tuples(st.just("append"), st.lists(outcomes, min_size=1, max_size=4)),
    st.tuples(st.just("append"), st.lists(outcomes, min_size=1, max_size=4)),
    st.tuples(st.just("delete"), st.sets(st.sampled_from("abcd"), min_size=1, max_size=2)),
    st.tuples(st.just("merge"), st.sets(st.sampled_from("abcd"), min_size=1, max_size=2)),
    st.tuples(st.just("where"), st.sampled_from(["attempt = 2", f"featurizer = '{ONE}'", "uri < 'b'", "true"])),
    st.tuples(st.just("compact"), st.none()),
)


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """Give what identifies an outcome here."""
    return row["uri"], row["landed_at"], row["attempt"]


def happen(orchard: Orchard, kind: str, what: Any, numbers: Iterator[int]) -> None:
    """Let something happen to the features; rows that are there already do not come again."""
    if kind == "append":
        there = {key(row) for row in orchard.rows(FEATURES) if row["featurizer"] == ONE}
        fresh = {key(row): row for row in what if key(row) not in there}.values()
        if fresh:
            orchard.outcome(*(row if "rejection" in row else {**row, "features": [next(numbers)]} for row in fresh))
    elif kind == "where":
        deletion.delete_rows(place(orchard), what)
    elif kind == "compact":
        compact(orchard)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(deletion, "_FEW", 0 if kind == "merge" else 1000)
            delete(orchard, *what)


@settings(max_examples=25)
@given(happening=st.lists(events, min_size=1, max_size=9), since=st.integers(0, 4))
def test_what_counted_with_the_difference_is_what_counts(
    happening: list[tuple[str, Any]], since: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After anything that can happen to the table, from any version on, vector by vector."""
    orchard, numbers = Orchard(tmp_path_factory.mktemp("lake") / "lake"), iter(range(1000))
    orchard.outcome({"uri": "a"}, {"uri": "z"}, featurizer=OTHER)
    for kind, what in happening:
        happen(orchard, kind, what, numbers)
    since = min(since, orchard.version(FEATURES))
    before, after = counting(orchard, since), counting(orchard, orchard.version(FEATURES))
    removed, added = differs(orchard, since)
    for each in removed:
        before.remove(each)
    assert sorted([*before, *added]) == after
