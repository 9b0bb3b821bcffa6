"""Whether the tasks of this machine fit into its memory, told before they start."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from conf.errors import UsageError
from streaming.backbones.shelf import Manifest

# Measured: memory that no file backs, of a Python worker with all that it imports, and of driver and JVM together.
_WORKER = {"litert": 96 << 20, "tensorflow": 288 << 20}
_DRIVER = 1280 << 20
# Large photos are usual, the pixel limit is not: a worker decodes one at a time and mostly less.
_USUAL_PIXELS, _BYTES_PER_PIXEL = 16_000_000, 8
# Where a manifest does not say: packed weights, and two maps of 64 channels at the input's size.
_PACKING, _BYTES_PER_INPUT_PIXEL = 1.25, 2 * 64 * 4

# Of control groups, version 2 and 1: the limit, what is used, and the cache within it that can be dropped.
_GROUP_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def check(
    manifests: Sequence[Manifest],
    cores: int,
    pixel_limit: int = 80_000_000,
    runtime: str = "litert",
    available: int | None = None,
) -> str:
    """Predict the memory of tasks that run side by side on this machine, each with all backbones loaded.

    Parameters
    ----------
    manifests
        Of the backbones; Spark keeps its Python workers, so one that has served two queries holds both models.
    cores
        As many tasks run at a time for each backbone.
    pixel_limit
        Over it a picture is rejected undecoded.
    runtime
        What runs the backbones. What TensorFlow takes of a GPU's memory is not counted.
    available
        Bytes to be had; what the system says by default.

    Returns
    -------
    str
        A sentence for the log.

    Raises
    ------
    UsageError
        They cannot fit; the message says how many tasks do, or that the backbone is too large.
    """
    tasks = cores * len(manifests)
    each = _WORKER[runtime] + _BYTES_PER_PIXEL * min(pixel_limit, _USUAL_PIXELS)
    each += sum(task_bytes(manifest, runtime) for manifest in manifests)
    shared = _DRIVER + (sum(manifest.tflite_bytes for manifest in manifests) if runtime == "litert" else 0)
    free = available_bytes() if available is None else available
    need = f"{_text(shared + tasks * each)} of memory ({_text(each)} a task and {_text(shared)} once)"
    if free is None:
        return f"{tasks} tasks take about {need}"
    if shared + tasks * each <= free:
        return f"{tasks} tasks take about {need}; {_text(free)} are free"
    fitting = (free - shared) // each // len(manifests)
    mend = f"say --cores {fitting}, or" if fitting >= 1 else "one task is too much:"
    raise UsageError(
        f"--cores: {tasks} tasks take about {need}, and {_text(free)} are free; {mend} take a smaller --backbone or a "
        "smaller input (NAME@SIZE)."
    )


def task_bytes(manifest: Manifest, runtime: str = "litert") -> int:
    """Return what one task needs for a backbone beside the file's pages, estimated where it was never measured."""
    side = manifest.backbone.preparation.size
    estimate = int(_PACKING * manifest.tflite_bytes) + _BYTES_PER_INPUT_PIXEL * side * side
    return manifest.task_bytes.get(runtime, estimate)


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


def _text(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
