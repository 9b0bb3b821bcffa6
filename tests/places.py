"""Places of a lake that lies in a folder, as every lake here does whose test opens its files itself."""

from pathlib import Path

from conf.uris import Place


def local(place: Place) -> Path:
    """Return a place as the path that it is."""
    assert isinstance(place, Path)
    return place
