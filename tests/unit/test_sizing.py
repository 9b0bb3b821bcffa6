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


def test_each_featurizer_has_a_slot_on_every_core() -> None:
    """None waits for another's tasks; where the slots are given, as on a cluster, tasks are shorter instead."""
    assert sizing.slots(2, featurizers=3) == 6
    assert sizing.tasks(2, featurizers=3, found=6) == 2
    assert sizing.tasks(2, featurizers=1, found=2) == 2
    assert sizing.tasks(100, featurizers=2, found=100) > 100
