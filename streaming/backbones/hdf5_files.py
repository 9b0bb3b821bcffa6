"""HDF5, in which Keras keeps weights: nothing in a file of weights may lead to another file, or unpack beyond measure.

Keras refuses links and values that lie elsewhere by itself from some version on; here a file is looked at before Keras
sees it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

MOST_EXPANSION, LEAST_LIMIT = 10, 64 << 20  # Keras stores without compression


def fault(file: Path | IO[bytes], size: int) -> str:
    """Return what a file of weights holds that does not belong there; empty where there is nothing of that kind.

    Parameters
    ----------
    file : Path or binary file
    size : int
        Bytes of the file, or of the archive that holds it.

    Raises
    ------
    OSError, RuntimeError
        It is no HDF5.
    """
    import h5py

    with h5py.File(file, "r") as root:
        return next(_faults(root, unpacked_limit(size)), "")


def unpacked_limit(size: int) -> int:
    """Return how many bytes a file of `size` bytes may honestly unpack to."""
    return max(MOST_EXPANSION * size, LEAST_LIMIT)


def _faults(group: Any, limit: int) -> Iterator[str]:
    import h5py

    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield f"the link {name!r}, and only values belong there"
            continue
        member = group[name]
        if isinstance(member, h5py.Group):
            yield from _faults(member, limit)
        elif member.external or member.is_virtual:
            yield f"{name!r}, whose values are in another file"
        elif member.nbytes > limit:
            yield f"{name!r}, which would unpack to {member.nbytes} bytes"
