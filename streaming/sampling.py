"""A sample of a landing, spread over its labels: the same each time, in whatever order it is listed. Pure."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from typing import NamedTuple

from streaming.discovery.sighting import Found

# Of a label's pictures, where there are too many labels for all of them: with one alone nothing could be compared.
_LEAST = 4


class _Drawn(NamedTuple):
    lot: bytes
    found: Found


def sample(
    pictures: Iterable[Found], landing: str, label: Callable[[str], str | None], size: int
) -> dict[Found, str | None]:
    """Return pictures and their labels, as evenly from each label as there are pictures.

    Where there are more labels than four pictures of each leave room for, some of them stand for all.

    Parameters
    ----------
    pictures
        What the landing shows; read once, and of each label no more than twice the sample is held.
    landing
        URI of the landing: a picture's lot is drawn by its name below it.
    label
        Gives the label of a uri.
    size
        How many pictures, at most.
    """
    drawn: dict[str | None, list[_Drawn]] = defaultdict(list)
    for each in pictures:
        mine = drawn[label(each.uri)]
        mine.append(_Drawn(_lot(each.uri.removeprefix(landing)), each))
        if len(mine) >= 2 * size:
            mine[:] = _first(mine, size)
    order = sorted(drawn, key=lambda name: _lot(name or ""))
    chosen = _enough({name: _first(drawn[name], size) for name in order}, size)
    rounds = zip_longest(*([(each.found, name) for each in mine] for name, mine in chosen.items()))
    return dict([each for each in chain.from_iterable(rounds) if each is not None][:size])


def _lot(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _first(drawn: list[_Drawn], count: int) -> list[_Drawn]:
    return sorted(drawn, key=lambda each: each.lot)[:count]


def _enough(drawn: dict[str | None, list[_Drawn]], size: int) -> dict[str | None, list[_Drawn]]:
    """Return the first labels that fill a sample with at least four pictures each, or all that those have."""
    chosen: dict[str | None, list[_Drawn]] = {}
    room = size
    for name, mine in drawn.items():
        if room <= 0:
            break
        chosen[name] = mine
        room -= min(len(mine), _LEAST)
    return chosen
