from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.rows import winners as module
from batch.rows.parts import PartGone, read
from batch.rows.winners import IDENTITY, ROWS, Snapshot, Winners, snapshot, winners
from conf.errors import LakeError
from conf.schemas import FEATURES
from conf.tables import files_of
from tests.unit.lakes import MORNING, ONE, OTHER, Orchard, seconds

NOBODY = pa.array([], pa.string())


def taken(orchard: Orchard, version: int | None = None, featurizer: str = ONE) -> Snapshot:
    """Take a snapshot of a featurizer's features."""
    return snapshot(orchard.paths.table(FEATURES), featurizer, version)


def decided(orchard: Orchard, *touched: str) -> Winners:
    """Decide about one featurizer's rows as they are."""
    return winners(taken(orchard), pa.array(touched, pa.string()))


def vectors(found: Winners) -> list[tuple[str, list[float]]]:
    """Read the uris and features that count, sorted."""
    batches = [batch for part in found.parts for batch in read(part, ["uri", "features"])]
    rows = [row for batch in batches for row in batch.to_pylist()]
    return sorted((row["uri"], row["features"]) for row in rows if row["features"] is not None)


class TestSnapshot:
    """One featurizer's files, as the log of a version names them."""

    def test_only_its_own_files(self, orchard: Orchard) -> None:
        """Absolute, with their bytes and rows."""
        orchard.outcome({"uri": "a"}, {"uri": "b"})
        orchard.outcome({"uri": "a"}, featurizer=OTHER)
        found = taken(orchard)
        (part,) = found.parts
        assert (found.version, part.rows, part.positions) == (2, 2, None)
        assert part.size == Path(part.path).stat().st_size

    def test_an_older_version(self, orchard: Orchard) -> None:
        """As it was; nothing at all before the first row."""
        orchard.outcome({"uri": "a"})
        orchard.outcome({"uri": "b"})
        assert (taken(orchard, 1).version, len(taken(orchard, 1).parts)) == (1, 1)
        assert taken(orchard, 0).parts == ()

    def test_names_that_the_log_encodes(self, orchard: Orchard) -> None:
        """A featurizer's id is part of its files' paths."""
        odd = "a b/%c=\N{PEACH}"
        orchard.outcome({"uri": "a"}, featurizer=odd)
        assert vectors(winners(taken(orchard, featurizer=odd), NOBODY)) == [("a", [1.0, 2.0])]

    def test_rows_are_counted_where_the_log_does_not_say(
        self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As for a writer without statistics."""
        orchard.outcome({"uri": "a"}, {"uri": "b"})
        unsaid = files_of(DeltaTable(orchard.paths.table(FEATURES)))
        unsaid = unsaid.set_column(unsaid.schema.get_field_index("num_records"), "num_records", pa.nulls(1, pa.int64()))
        monkeypatch.setattr(module, "files_of", lambda table, **partition: unsaid)
        assert [part.rows for part in taken(orchard).parts] == [2]

    def test_a_version_that_is_not_there_is_a_lake_error(self, orchard: Orchard) -> None:
        """Trimmed away or yet to come."""
        with pytest.raises(LakeError, match=r"version 7 of .*features cannot be read: "):
            taken(orchard, 7)

    def test_a_table_whose_files_are_not_its_rows_is_refused(
        self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Deletion vectors or column mapping: the message says how to be rid of them."""

        class Newer:
            min_reader_version = 3

        monkeypatch.setattr(DeltaTable, "protocol", lambda table: Newer)
        with pytest.raises(LakeError, match=r"needs Delta reader version 3.*DROP FEATURE"):
            taken(orchard)


class TestWinners:
    """The newest row of each uri counts, if it has features."""

    def test_an_empty_table_has_none(self, orchard: Orchard) -> None:
        """Also where one asks for uris."""
        found = decided(orchard, "a")
        assert (found.parts, found.n, found.rejected, found.labels) == ((), 0, 0, {})
        assert found.rows.schema == ROWS
        assert found.rows.num_rows == 0

    def test_the_newer_version_of_a_picture_counts(self, orchard: Orchard) -> None:
        """In another file or in the same; older rows of it are skipped."""
        orchard.outcome({"uri": "a"}, {"uri": "b"}, {"uri": "b", "landed_at": seconds(1), "features": [3.0, 4.0]})
        orchard.outcome({"uri": "a", "landed_at": seconds(1), "features": [5.0, 6.0]})
        found = decided(orchard)
        assert vectors(found) == [("a", [5.0, 6.0]), ("b", [3.0, 4.0])]
        assert (found.n, found.rejected, found.labels) == (2, 0, {None: 2})
        assert sorted(part.wanted for part in found.parts) == [1, 1]

    def test_files_that_hold_nothing_wanted_are_left_out(self, orchard: Orchard) -> None:
        """Of rejections, and of rows that all lost."""
        orchard.reject("empty", "a", "b")
        orchard.outcome({"uri": "c"})
        orchard.outcome({"uri": "c", "attempt": 2})
        found = decided(orchard)
        assert (len(found.parts), found.n, found.rejected) == (1, 1, 2)
        assert vectors(found) == [("c", [1.0, 2.0])]

    def test_a_rejection_that_is_the_newest_outcome_takes_the_picture_out(self, orchard: Orchard) -> None:
        """And a retry that succeeds brings it in."""
        orchard.outcome({"uri": "a"}, {"uri": "b", "rejection": "empty"})
        orchard.outcome({"uri": "a", "landed_at": seconds(1), "rejection": "empty"}, {"uri": "b", "attempt": 2})
        found = decided(orchard)
        assert (vectors(found), found.n, found.rejected) == ([("b", [1.0, 2.0])], 1, 1)

    def test_pictures_are_counted_by_label(self, orchard: Orchard) -> None:
        """Of the newest rows with features alone; no label is one, too."""
        orchard.outcome({"uri": "a", "label": "old"}, {"uri": "b", "label": "plum"}, {"uri": "c", "label": "plum"})
        orchard.outcome({"uri": "a", "label": "plum", "attempt": 2}, {"uri": "d"}, {"uri": "e", "rejection": "empty"})
        assert decided(orchard).labels == {"plum": 3, None: 1}

    def test_a_row_that_is_there_twice_counts_once(self, orchard: Orchard) -> None:
        """It must not happen; one of them is skipped."""
        orchard.outcome({"uri": "a"}, {"uri": "a"})
        orchard.outcome({"uri": "a"})
        found = decided(orchard)
        assert (vectors(found), found.n) == ([("a", [1.0, 2.0])], 1)

    def test_all_rows_of_touched_uris_are_returned(self, orchard: Orchard) -> None:
        """Winners, losers, rejections, with what decides and where they lie; uris that are not there are not."""
        orchard.outcome({"uri": "a", "label": "plum"}, {"uri": "b"}, {"uri": "", "e_tag": ""})
        orchard.outcome({"uri": "b", "attempt": 2, "rejection": "empty"}, {"uri": "c"})
        rows = decided(orchard, "b", "", "nowhere", "a").rows
        found = sorted((row["uri"], row["attempt"], row["rejected"], row["label"]) for row in rows.to_pylist())
        assert found == [("", 1, False, None), ("a", 1, False, "plum"), ("b", 1, False, None), ("b", 2, True, None)]
        for row in rows.to_pylist():
            read_again = pq.ParquetFile(row["file"]).read(list(IDENTITY)).slice(row["position"], 1).to_pylist()
            assert read_again == [{name: row[name] for name in IDENTITY}]

    def test_hashes_that_collide_cost_no_picture(self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """Rows are decided by their uris."""
        monkeypatch.setattr(module, "hashes_of", lambda uris: np.zeros(len(uris), np.int64))
        orchard.outcome(*({"uri": str(number)} for number in range(5)))
        orchard.outcome({"uri": "3", "attempt": 2})
        found = decided(orchard, "1")
        assert (found.n, found.rows["uri"].to_pylist()) == (5, ["1"])
        assert [uri for uri, _ in vectors(found)] == ["0", "1", "2", "3", "4"]

    def test_contested_rows_are_held_some_at_a_time(self, orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many there are; more only where one uri has more."""
        lose, held = module._lose, list[int]()

        def watched(looks: Any, found: Any, rows: pa.Table) -> None:
            held.append(rows.num_rows)
            lose(looks, found, rows)

        monkeypatch.setattr(module, "_lose", watched)
        monkeypatch.setattr(module, "_ROWS_A_ROUND", 4)
        orchard.outcome(*({"uri": str(number // 2), "attempt": number % 2} for number in range(20)), {"uri": "alone"})
        found = decided(orchard)
        assert (held, found.n) == ([4] * 5, 11)

    def test_a_file_that_vanished_is_told(self, orchard: Orchard) -> None:
        """VACUUM may take it while one reads."""
        orchard.outcome({"uri": "a"})
        files = taken(orchard)
        Path(files.parts[0].path).unlink()
        with pytest.raises(PartGone):
            winners(files, NOBODY)


moments = st.integers(0, 2).map(lambda number: MORNING + timedelta(seconds=number))
outcomes = st.fixed_dictionaries(
    {
        "uri": st.sampled_from("abcdef"),
        "landed_at": moments,
        "discovered_at": moments,
        "e_tag": st.sampled_from(["", "9-1", "10-1"]),
        "attempt": st.integers(1, 11),
        "label": st.sampled_from(["plum", "fig", None]),
    },
    optional={"rejection": st.just("empty")},
)


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """Give what identifies a row, in the order in which rows win."""
    return tuple(row[name] for name in IDENTITY)


@settings(max_examples=25)
@given(rows=st.lists(outcomes, max_size=24, unique_by=key), per_commit=st.integers(6, 12), at_once=st.integers(1, 5))
def test_any_rows_in_any_files_and_rounds(
    rows: list[dict[str, Any]], per_commit: int, at_once: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As the rule says that is written in `conf.lake`, whatever is contested and however few rows are held at once."""
    orchard = Orchard(tmp_path_factory.mktemp("lake") / "lake")
    numbered = [each if "rejection" in each else {**each, "features": [float(n)]} for n, each in enumerate(rows)]
    for start in range(0, len(rows), per_commit):
        orchard.outcome(*numbered[start : start + per_commit])
    best = {row["uri"]: row for row in sorted(numbered, key=key)}.values()
    counting = [row for row in best if "rejection" not in row]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS_A_ROUND", at_once)
        found = decided(orchard, "a", "b")
    assert vectors(found) == sorted((row["uri"], row["features"]) for row in counting)
    assert (found.n, found.rejected) == (len(counting), len(best) - len(counting))
    assert found.labels == Counter(row["label"] for row in counting)
    assert sorted(map(key, found.rows.to_pylist())) == sorted(key(row) for row in rows if row["uri"] in "ab")
