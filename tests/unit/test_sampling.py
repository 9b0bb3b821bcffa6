"""A sample of a landing."""

import random
from collections import Counter
from datetime import UTC, datetime

import pytest

from streaming.discovery.sighting import Found
from streaming.landing import labeller
from streaming.sampling import sample

LANDING = "file:///landing"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def shown(counts: dict[str, int], landing: str = LANDING) -> list[Found]:
    """Return what a landing with so many pictures in each folder shows; an empty name is its root."""
    return [
        Found("/".join(filter(None, (landing, name, f"{number}.jpg"))), "1-1", NOW, 1)
        for name, count in counts.items()
        for number in range(count)
    ]


def drawn(pictures: list[Found], size: int, landing: str = LANDING) -> dict[Found, str | None]:
    """Draw with the usual label rule."""
    return sample(pictures, landing, labeller("parent", landing), size)


def test_labels_have_as_many_each_as_they_can() -> None:
    """Where one has few, the others fill up; pictures without a label count as one."""
    found = drawn(shown({"a": 100, "b": 3, "c": 100, "": 50}), 60)
    assert Counter(found.values()) == {"a": 19, "c": 19, None: 19, "b": 3}
    assert all(label is None or f"/{label}/" in each.uri for each, label in found.items())


def test_all_are_taken_where_there_are_fewer() -> None:
    """Each once."""
    pictures = shown({"a": 5, "b": 2})
    assert set(drawn(pictures, 400)) == set(pictures)
    assert drawn([], 400) == {}


def test_of_many_labels_some_stand_for_all() -> None:
    """A label has four pictures or all that it has: with one each, no picture could have a neighbour of its own."""
    found = drawn(shown({f"label-{number}": 1 + number % 9 for number in range(200)}), 40)
    counts = Counter(found.values())
    assert len(found) == 40
    assert 10 <= len(counts) < 40
    assert max(counts.values()) <= 5
    assert sum(count >= 2 for count in counts.values()) >= 0.7 * len(counts)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_same_in_whatever_order_a_landing_is_listed(seed: int) -> None:
    """And wherever the landing lies."""
    counts = {"a": 300, "b": 7, "": 40}
    pictures, moved = shown(counts), shown(counts, "s3://bucket/x")
    random.Random(seed).shuffle(moved)
    expected = [each.uri.removeprefix(LANDING) for each in drawn(pictures, 30)]
    assert [each.uri.removeprefix("s3://bucket/x") for each in drawn(moved, 30, "s3://bucket/x")] == expected
