"""The suite's backbone, compiled in a process of its own: what compiles is large, and talkative."""

import subprocess
import sys
import tempfile
from pathlib import Path

from streaming.backbones.compile import compile_backbone
from streaming.backbones.request import parse_backbone
from streaming.backbones.shelf import Compiled, beside, save


def compiled(name: str, kept: Path | None = None) -> Compiled:
    """Return a compiled backbone.

    Parameters
    ----------
    name
        As `--backbone` takes it.
    kept
        A folder from which it is taken where it is there, and where it is put else.
    """
    with tempfile.TemporaryDirectory() as folder:
        shelf = kept or Path(folder)
        shelf.mkdir(parents=True, exist_ok=True)
        if not list(shelf.glob("*.tflite")):
            command = [sys.executable, "-m", "tests.faults.compilation", name, str(shelf)]
            subprocess.run(command, check=True, capture_output=True)
        (model,) = shelf.glob("*.tflite")
        found = beside(model)
        assert found is not None
        return found


if __name__ == "__main__":
    save(compile_backbone(parse_backbone(sys.argv[1])), Path(sys.argv[2]))
