"""Smaller: as few bytes as still do the same."""

from collections.abc import Callable


def smaller(data: bytes, same: Callable[[bytes], bool], tries: int = 1000) -> bytes:
    """Leave out halves, quarters and so on down to single bytes, as long as the rest does the same.

    Parameters
    ----------
    data : bytes
        For which `same` holds.
    same : callable
        Whether bytes do what is looked for.
    tries : int
        How often `same` is asked at most.

    Returns
    -------
    bytes
        For which `same` holds.
    """
    size = len(data) // 2
    while size and tries > 0:
        at = 0
        while at < len(data) and (tries := tries - 1) >= 0:
            shorter = data[:at] + data[at + size :]
            if same(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data
