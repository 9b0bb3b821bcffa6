"""What the soak makes of its samples."""

import math

from tests.bench.soak import Sample, fifth, medians, verdict


def test_a_run_falls_into_five_equal_parts() -> None:
    """The state after a micro-batch belongs to the part that the micro-batch lies in."""
    assert [fifth(batch, 10) for batch in range(1, 11)] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert (fifth(0, 10), fifth(11, 10)) == (1, 5)


def test_a_part_without_a_sample_has_no_median() -> None:
    """The others have theirs, of the one measure asked for."""
    samples = [
        Sample("memory", 1, 5.0),
        Sample("memory", 2, 7.0),
        Sample("threads", 2, 100.0),
        Sample("memory", 9, 8.0),
    ]
    middles = medians(samples, "memory", 10)
    assert (middles[0], middles[4]) == (6.0, 8.0)
    assert all(map(math.isnan, middles[1:4]))


def test_flat_is_within_a_fifth_of_the_second_part_and_growth_is_per_thousand() -> None:
    """The first part is warm-up; between the middles of the second and the last lie three parts."""
    assert verdict([1.0, 100.0, 110.0, 115.0, 120.0], 500) == "flat"
    assert verdict([1.0, 100.0, 110.0, 120.0, 130.0], 500) == "grows by 100 per 1,000 micro-batches"
