"""How a label looks in every chart: a colour that colour-blind people tell apart, and a shape once colours run out.

The colours are near those of Okabe and Ito (2008), moved by a search until each stands out from its ground by 3:1 (WCAG
2.2, 1.4.11), and is 0.08 in OKLab (Ottosson 2020) from every other and from the grey of no label, also to people who
lack one kind of cone (Machado, Oliveira and Fernandes 2009).
"""

from collections.abc import Iterable
from dataclasses import dataclass

Name = str | None

# On a light ground, and on a dark one.
COLOURS = (
    ("#004d72", "#097fd9"),
    ("#b93e00", "#dd682b"),
    ("#117954", "#64fbc9"),
    ("#ab4d98", "#a347a2"),
    ("#cc8000", "#f2ce47"),
    ("#1a80d5", "#79cef3"),
    ("#762d3e", "#ea9da7"),
    ("#633cab", "#af9afe"),
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
