"""Trying a compiled backbone as a worker runs it: in a fresh process, on the probe pictures, its memory measured."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streaming.backbones.backbone import Backbone
from streaming.backbones.child import in_child, load_tensorflow
from streaming.backbones.probes import probe_pictures
from streaming.backbones.runtime import Infers, RuntimeKind, runtime_for


@dataclass(frozen=True)
class Candidate:
    """What is tried: the file, what it should be, and the runtime."""

    model: Path
    backbone: Backbone
    width: int
    runtime: RuntimeKind = "litert"


@dataclass(frozen=True)
class Trial:
    """How a candidate did.

    Attributes
    ----------
    vectors : ndarray of shape (n, width), float32
        Of the probe pictures.
    seconds : float
        Median time per picture, decoding left out.
    task_bytes : int
        Memory that a process of its own needs for it, beside what it shares with others: the file's pages.
    """

    vectors: NDArray[np.float32]
    seconds: float
    task_bytes: int


def try_out(candidate: Candidate) -> Trial:
    """Run a candidate in a fresh process.

    Raises
    ------
    BackboneError
        It cannot be loaded, or takes the process down.
    """
    return in_child(_run, candidate)


def _run(candidate: Candidate) -> Trial:
    if candidate.runtime == "tensorflow":
        load_tensorflow()  # its own footprint is not the candidate's
    before = own_bytes()
    runtime = runtime_for(candidate.model, candidate.backbone, candidate.width, candidate.runtime)
    probes = probe_pictures(candidate.backbone.preparation.size)
    vectors = np.stack(runtime.vectors(list(probes)))
    runtime.vectors([probes[0]] * runtime.batch)
    return Trial(vectors, float(np.median([_seconds(runtime, probe) for probe in probes])), own_bytes() - before)


def _seconds(runtime: Infers, probe: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    runtime.vectors([probe])
    return time.perf_counter() - start


def own_bytes() -> int:
    """Return this process's memory that no file backs; elsewhere than on Linux the most that it ever had."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
    except (OSError, StopIteration):
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
