"""How a label looks in every chart: a colour that colour-blind people tell apart, and a shape once colours run out.

The colours are those of Okabe and Ito (2008) without yellow and black, which vanish on one of the two grounds, and two
more of Tol's "muted" scheme.
"""

from collections.abc import Iterable
from dataclasses import dataclass

Name = str | None

# On a light ground, and on a dark one.
COLOURS = (
    ("#0072b2", "#4ba3dc"),
    ("#d55e00", "#f07f34"),
    ("#009e73", "#2cc295"),
    ("#cc5f9b", "#e08fbd"),
    ("#e69f00", "#f2b63c"),
    ("#56b4e9", "#8fd3ff"),
    ("#882255", "#c9608f"),
    ("#5d3a9b", "#a58be0"),
)
NOTHING = ("#8a8f98", "#7d838c")
SHAPES = ("circle", "square", "triangle", "diamond", "wedge", "cross")


@dataclass(frozen=True)
class Look:
    """How the points of one label are drawn.

    Attributes
    ----------
    colour : int
        A place in `COLOURS`; -1 for pictures without a label.
    shape : str
        One of `SHAPES`.
    """

    colour: int
    shape: str

    @property
    def on_light(self) -> str:
        """The colour on a light ground, as ``#rrggbb``."""
        return (COLOURS[self.colour] if self.colour >= 0 else NOTHING)[0]


def looks(names: Iterable[Name]) -> dict[Name, Look]:
    """Give each label its look, in the order in which they come; after 48 of them looks come again."""
    named = dict.fromkeys(names)
    given: dict[Name, Look] = {None: Look(-1, SHAPES[0])} if None in named else {}
    for place, name in enumerate(name for name in named if name is not None):
        turn, colour = divmod(place, len(COLOURS))
        given[name] = Look(colour, SHAPES[turn % len(SHAPES)])
    return {name: given[name] for name in named}
