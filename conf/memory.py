"""The memory that new processes can have on this machine."""

from collections.abc import Iterator
from pathlib import Path

# Of control groups, version 2 and 1: the limit, what is used, and the cache within it that can be dropped.
_GROUP_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory that new processes can have: the machine's or the container's, whichever is less.

    Parameters
    ----------
    root
        Where `proc` and `sys` are.

    Returns
    -------
    int or None
        None where the system does not say, as elsewhere than on Linux.
    """
    return min((*_machine(root), *_container(root)), default=None)


def _machine(root: Path) -> Iterator[int]:
    """Read what the kernel takes for available, caches that it can drop included."""
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _container(root: Path) -> Iterator[int]:
    """Read what is left under the limits of this process's control group and those above it, version 2 or 1."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            base = root / "sys/fs/cgroup" / controllers
            group = base / path.lstrip("/")
            names = _GROUP_FILES[controllers]
            for folder in (group, *group.parents):
                if folder.is_relative_to(base):
                    yield from _left(folder, *names)


def _left(folder: Path, limit: str, usage: str, droppable: str) -> Iterator[int]:
    numbers = [int(text) for name in (limit, usage) for text in _lines(folder / name) if text.isdigit()]
    if len(numbers) == 2:
        dropped = [int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.split()[0] == droppable]
        yield max(0, numbers[0] - numbers[1] + sum(dropped))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return []


def text_of(size: int) -> str:
    """Return a number of bytes as a person says it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
