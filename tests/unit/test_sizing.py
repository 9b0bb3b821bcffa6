import pytest

from streaming import sizing


@pytest.mark.parametrize(
    ("rate", "asked", "expected"), [(170, 0, 1700), (0.5, 0, 64), (1e6, 0, 100_000), (170, 40, 40)]
)
def test_a_micro_batch_is_about_ten_seconds_of_work(rate: float, asked: int, expected: int) -> None:
    """Within bounds, and what the user asks for is done."""
    assert sizing.rows(rate, asked) == expected


def test_admission_takes_one_full_file_or_many_small_ones() -> None:
    """The bound is below one full file, so that a second one is not begun, and never zero."""
    assert sizing.admission(1000, 20).max_bytes == 16_000
    assert sizing.admission(1, 0.1).max_bytes == 1


def test_tasks_are_shorter_beside_another_query() -> None:
    """A fair scheduler hands out cores as tasks end."""
    assert sizing.tasks(2, featurizers=1, most_rows=1000, rate=7.0) == 2
    assert sizing.tasks(2, featurizers=2, most_rows=1000, rate=7.0) == 381
    assert sizing.tasks(2, featurizers=2, most_rows=64, rate=700.0) == 2
    assert sizing.tasks(2, featurizers=2, most_rows=100_000, rate=1.0) == 512
