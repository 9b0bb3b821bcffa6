"""A `.tflite` file of the user's own: looked at, tried on the probe pictures, and taken as it is."""

import hashlib
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

from conf.errors import BackboneError, UsageError, first_line
from streaming.backbones.child import in_child
from streaming.backbones.probes import check_usable
from streaming.backbones.request import BackboneRequest
from streaming.backbones.runtime import signature
from streaming.backbones.shelf import Compiled, Manifest
from streaming.backbones.trial import Candidate, try_out

_NEEDED = "uint8 or float32[1, side, side, 3] to float32[1, width]"


def adopt(request: BackboneRequest) -> Compiled:
    """Take the user's own `.tflite` file for a compiled backbone; neither TensorFlow nor Keras is needed.

    A float32 input sees pixels from 0 to 255, as a uint8 input does.

    Raises
    ------
    UsageError
        There is no such file, LiteRT cannot run it, or its input or output is not a backbone's; the message says what
        it has and what is needed.
    BackboneError
        It gives vectors that are of no use.
    """
    path = request.file
    if not path.is_file():
        raise UsageError(f"--backbone {path}: there is no such file.")
    request.check_pooling(pooled=False)
    try:
        size, width = in_child(_signature, path)
    except BackboneError as error:  # a damaged file can take a process down
        raise _unfit(path, first_line(error)) from error
    if request.preparation.size not in (0, size):
        raise UsageError(f"--backbone {path}: its input is {size} pixels wide; leave @{request.preparation.size} out.")
    content = path.read_bytes()
    backbone = request.with_weights(hashlib.sha256(content).hexdigest(), size, pooled=False)
    trial = try_out(Candidate(path, backbone, width))
    check_usable(trial.vectors)
    manifest = Manifest(
        backbone=backbone,
        width=width,
        tflite_sha256=backbone.weights_sha256,
        tflite_bytes=len(content),
        probe_error=0.0,
        seconds_per_picture=trial.seconds,
        versions={"litert": version("ai-edge-litert")},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        weights=request.origin,
        task_bytes={"litert": trial.task_bytes},
    )
    return Compiled(content, manifest)


def _signature(path: Path) -> tuple[int, int]:
    """Give the side of the input and the width of the vector."""
    try:
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        takes, gives = signature(interpreter.get_input_details()), signature(interpreter.get_output_details())
        picture = re.fullmatch(r"(?:uint8|float32)\[1, (\d+), \1, 3\]", takes)
        vector = re.fullmatch(r"float32\[1, (?:1, 1, )?(\d+)\]", gives)
        if picture is None or vector is None:
            raise UsageError(f"--backbone {path}: it maps {takes} to {gives}; a backbone maps {_NEEDED}.")
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise _unfit(path, first_line(error).split(". ")[0]) from error
    return int(picture[1]), int(vector[1])


def _unfit(path: Path, fault: str) -> UsageError:
    return UsageError(
        f"--backbone {path}: LiteRT cannot run it ({fault}); it takes models of TensorFlow Lite's built-in operations."
    )
