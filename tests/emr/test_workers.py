"""Workers of EMR Serverless: which sizes there are, and what fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.emr.jobs import SIZES as USUAL
from bootstrap.emr.workers import SIZES, check, mebibytes, size
from conf.errors import UsageError


def test_the_usual_sizes_fit() -> None:
    """The driver's 14 GB and the executors' 12 GB are sizes of 4 cores."""
    assert check(USUAL) == {"driver": (4, 14), "executor": (4, 12)}


@given(cores=st.sampled_from(sorted(SIZES)), demand=st.integers(min_value=1, max_value=300 * 1024))
def test_the_smallest_worker_that_holds_it_is_taken(cores: int, demand: int) -> None:
    """Of the steps that these cores have; more than their most is refused."""
    if demand > SIZES[cores][-1] * 1024:
        with pytest.raises(UsageError, match=f"a worker of {cores} cores has {SIZES[cores][-1]} GB at most"):
            size(cores, demand)
        return
    found = size(cores, demand)
    assert found * 1024 >= demand
    assert not [each for each in SIZES[cores] if demand <= each * 1024 < found * 1024]


@pytest.mark.parametrize(("cores", "most", "step"), [(1, 8, 1), (2, 16, 1), (4, 30, 1), (8, 60, 4), (16, 120, 8)])
def test_steps_are_those_of_the_guide(cores: int, most: int, step: int) -> None:
    """From the least on, evenly."""
    assert SIZES[cores] == tuple(range(2 * cores, most + 1, step))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"spark.executor.memory": "23g"}, r"executor: a worker of 4 cores has 30 GB at most, and 31 GB are asked for"),
        (
            {"spark.driver.memoryOverhead": "25000m"},
            r"driver: .*30\.4141 GB are asked for: ask for less memory or more",
        ),
        ({"spark.executor.cores": "3"}, r"executor: EMR Serverless has no worker of 3 cores: say 1, 2, 4, 8, 16, 32"),
        ({"spark.driver.cores": "four"}, r"spark\.driver\.cores=four is no whole number"),
        ({"spark.driver.memory": "6"}, r"spark\.driver\.memory=6 is no size with a unit: say 4g, or 4096m"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changed: dict[str, str], said: str) -> None:
    """With the settings that say so."""
    with pytest.raises(UsageError, match=said) as caught:
        check({**USUAL, **changed})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"), [("4g", 4096), ("4G", 4096), ("512m", 512), ("512mb", 512), ("1t", 1 << 20)]
)
def test_sizes_are_read_as_spark_spells_them(text: str, found: int) -> None:
    """With either letter, with or without a b."""
    assert mebibytes(text, "spark.driver.memory") == found
