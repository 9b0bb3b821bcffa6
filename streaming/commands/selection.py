"""Which pictures a request is about: uris, and the beginning of uris, in the one spelling that the tables hold."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from conf import access
from conf.errors import UsageError
from conf.uris import folder_of, spelled


@dataclass(frozen=True)
class Selection:
    """The pictures with one of the `uris`, and those whose uri begins with `prefix`; of an empty one, none.

    Attributes
    ----------
    uris : tuple of str
        As the tables spell them.
    prefix : str
        A plain text: `…/Apple` begins the uris of `…/Apples/1.jpg`, too, `…/Apple/` does not.
    """

    uris: tuple[str, ...] = ()
    prefix: str = ""

    def mask(self) -> Callable[[pa.ChunkedArray], pa.ChunkedArray]:
        """Return the function that tells of each of many uris whether it is selected."""
        named = pa.array(self.uris, pa.string())

        def selected(uris: pa.ChunkedArray) -> pa.ChunkedArray:
            among = pc.is_in(uris, value_set=named)
            return pc.or_(among, pc.starts_with(uris, self.prefix)) if self.prefix else among

        return selected


def select(places: Sequence[str] = (), prefix: str = "") -> Selection:
    """Return the selection that a person means.

    Parameters
    ----------
    places
        Pictures, as paths or URIs.
    prefix
        The beginning of paths or of URIs; one that ends with a slash means the folder.

    Raises
    ------
    UsageError
        One of them is empty, a folder, or of a scheme that this version does not reach.
    """
    if not all(places):
        raise UsageError("a picture's place is empty: give its path or URI")
    folders = [place for place in places if not access.scheme_of(place) and _is_folder(place)]
    if folders:
        raise UsageError(f"{folders[0]} is a folder: --prefix {folders[0].rstrip('/')}/ means the pictures in it")
    uris = dict.fromkeys(spelled(place, "picture") for place in places)
    return Selection(tuple(uris), _prefix(prefix) if prefix else "")


def _prefix(text: str) -> str:
    uri = spelled(text, "prefix")
    return uri if uri.endswith("/") or not text.endswith("/") else f"{uri}/"


def _is_folder(place: str) -> bool:
    # os.path: no error where it may not be looked at.
    return os.path.isdir(folder_of(place, "picture"))  # noqa: PTH112
