"""How a step that takes seconds tells what it does and how far it is."""

from typing import Protocol


class Say(Protocol):
    """Told a sentence before each step, and again as it gets on."""

    def __call__(self, text: str, done: float = 0, total: float = 0) -> None:
        """Tell what is being done.

        Parameters
        ----------
        text
            The step, the same text for as long as it is the same step.
        done, total
            How far it is, in whatever the text counts; a total of 0 where that is not known.
        """


def silent(text: str, done: float = 0, total: float = 0) -> None:
    """Tell nobody."""
