"""Whether the tasks of this machine fit into its memory, told before they start."""

from collections.abc import Sequence

from conf.errors import UsageError
from conf.memory import available_bytes, text_of
from streaming.backbones.shelf import Manifest

# Measured: memory that no file backs, of a Python worker with all that it imports, and of driver and JVM together.
_WORKER = {"litert": 96 << 20, "tensorflow": 288 << 20}
_DRIVER = 1280 << 20
# Large photos are usual, the pixel limit is not: a worker decodes one at a time and mostly less.
_USUAL_PIXELS, _BYTES_PER_PIXEL = 16_000_000, 8
# Where a manifest does not say: packed weights, and two maps of 64 channels at the input's size.
_PACKING, _BYTES_PER_INPUT_PIXEL = 1.25, 2 * 64 * 4


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
    need = f"{text_of(shared + tasks * each)} of memory ({text_of(each)} a task and {text_of(shared)} once)"
    if free is None:
        return f"{tasks} tasks take about {need}"
    if shared + tasks * each <= free:
        return f"{tasks} tasks take about {need}; {text_of(free)} are free"
    fitting = (free - shared) // each // len(manifests)
    mend = f"say --cores {fitting}, or" if fitting >= 1 else "one task is too much:"
    raise UsageError(
        f"--cores: {tasks} tasks take about {need}, and {text_of(free)} are free; {mend} take a smaller --backbone "
        "or a smaller input (NAME@SIZE)."
    )


def task_bytes(manifest: Manifest, runtime: str = "litert") -> int:
    """Return what one task needs for a backbone beside the file's pages, estimated where it was never measured."""
    side = manifest.backbone.preparation.size
    estimate = int(_PACKING * manifest.tflite_bytes) + _BYTES_PER_INPUT_PIXEL * side * side
    return manifest.task_bytes.get(runtime, estimate)
