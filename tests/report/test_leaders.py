"""The greatest few of each group."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from batch.report.leaders import Leaders

SCHEMA = pa.schema([("uri", pa.string())])
ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), max_size=40)


@given(ROWS, st.integers(1, 4), st.integers(1, 7))
def test_however_the_rows_come_the_greatest_are_kept(rows: list[tuple[int, int]], most: int, at_once: int) -> None:
    """By group, the greatest key first, of equal ones the first by uri."""
    named = [(group, key, f"{number:02}") for number, (group, key) in enumerate(rows)]
    leaders = Leaders(4, most, SCHEMA)
    for start in range(0, len(named), at_once):
        part = named[start : start + at_once]
        keys = np.array([float(key) for _, key, _ in part])
        leaders.add(np.array([group for group, _, _ in part]), keys, pa.table([[uri for *_, uri in part]], SCHEMA))
    ordered = sorted(named, key=lambda row: (row[0], -row[1], row[2]))
    wanted = [row for place, row in enumerate(ordered) if sum(other[0] == row[0] for other in ordered[:place]) < most]
    groups, found = leaders.found()
    assert groups.tolist() == [group for group, _, _ in wanted]
    assert found["uri"].to_pylist() == [uri for *_, uri in wanted]


def test_what_has_no_key_is_left_out() -> None:
    """It is neither great nor small."""
    leaders = Leaders(1, 5, SCHEMA)
    leaders.add(np.zeros(2, np.int64), np.array([np.nan, 1.0]), pa.table([["a", "b"]], SCHEMA))
    assert leaders.found()[1]["uri"].to_pylist() == ["b"]
