"""Compiling a backbone: Keras network + scaling + pooling -> one LiteRT model, compared with Keras before it is given.

TensorFlow is imported inside functions only: a driver that runs for months calls `compile_in_child` and never holds it.
"""

import hashlib
import tempfile
import warnings
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from conf.errors import UsageError
from streaming.backbones import efficientnet_lite0
from streaming.backbones.backbone import Backbone
from streaming.backbones.child import in_child, load_tensorflow
from streaming.backbones.keras_files import open_keras
from streaming.backbones.networks import trained, untrained
from streaming.backbones.probes import probe_pictures, worst_error
from streaming.backbones.random_weights import randomise
from streaming.backbones.request import BackboneRequest
from streaming.backbones.runtime import RuntimeKind
from streaming.backbones.shelf import Compiled, Manifest, model_path
from streaming.backbones.trial import Candidate, Trial, try_out
from streaming.backbones.weights import resolve

if TYPE_CHECKING:
    import keras

_DEFAULT_SIZE = 224  # of the user's own model that takes any


def compile_backbone(request: BackboneRequest, runtime: RuntimeKind = "litert") -> Compiled:
    """Compile in this process, which then holds TensorFlow; see `compile_in_child`.

    The model takes uint8 pixels of shape (1, size, size, 3) and gives a float32 vector of shape (1, width). It runs on
    probe pictures before it is returned, since a conversion can lose the weights without an error.

    Parameters
    ----------
    request : BackboneRequest
        Of a network known by name, or of a ``.keras`` file.
    runtime : {"litert", "tensorflow"}
        With the second, the result also holds the model that TensorFlow runs.

    Raises
    ------
    UsageError
        The weights file is missing, or the user's own model is not one that can be used.
    BackboneError
        TensorFlow or the weights cannot be had, the weights do not fit, or a compiled model and Keras disagree.
    """
    tensorflow = load_tensorflow()
    with tensorflow.device("/CPU:0"):  # a GPU's TF32 is further from float32 than the tolerance
        network, backbone = _own(request) if request.architecture.kind == "keras" else _known(request)
        single = _with_input_and_pooling(network, backbone, batch=1)
        probes = probe_pictures(backbone.preparation.size)
        reference = np.concatenate([np.asarray(single(probe[np.newaxis])) for probe in probes])
        files: dict[RuntimeKind, bytes] = {"litert": _convert(single)}
        if runtime == "tensorflow":
            files["tensorflow"] = _saved(_with_input_and_pooling(network, backbone, batch=None))
    trials = {kind: _tried(content, backbone, reference.shape[1], kind) for kind, content in files.items()}
    errors = {kind: worst_error(trial.vectors, reference) for kind, trial in trials.items()}
    manifest = Manifest(
        backbone=backbone,
        width=reference.shape[1],
        tflite_sha256=hashlib.sha256(files["litert"]).hexdigest(),
        tflite_bytes=len(files["litert"]),
        probe_error=errors["litert"],
        seconds_per_picture=trials["litert"].seconds,
        versions=_versions(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        weights=request.origin,
        task_bytes={kind: trial.task_bytes for kind, trial in trials.items()},
        keras_sha256=hashlib.sha256(files["tensorflow"]).hexdigest() if runtime == "tensorflow" else "",
    )
    return Compiled(files["litert"], manifest, files.get("tensorflow", b""))


def compile_in_child(request: BackboneRequest, runtime: RuntimeKind = "litert") -> Compiled:
    """Compile in a fresh process that ends afterwards and says nothing on the terminal.

    Raises
    ------
    UsageError, BackboneError
        As `compile_backbone`; also when the process dies, with the last line that it wrote.
    """
    return in_child(partial(compile_backbone, runtime=runtime), request)


def _known(request: BackboneRequest) -> "tuple[keras.Model, Backbone]":
    """Build a network known by name, scaled pixels -> last feature map or vector, with its weights."""
    backbone, source = resolve(request, call=lambda function, argument: function(argument))
    if source.seed is None:
        return trained(backbone, source.path or efficientnet_lite0.embedded_weights()), backbone
    network = untrained(backbone)
    randomise(network, backbone, source.seed)
    return network, backbone


def _own(request: BackboneRequest) -> "tuple[keras.Model, Backbone]":
    """Open the user's own model, pixels from 0 to 255 -> feature map or vector."""
    model, sha256 = open_keras(request.file)
    size = _side(request, model)
    rank = len(_only(request, "output", model.outputs))
    if rank not in (2, 4):
        raise _unfit(request, f"its output has {rank} dimensions; a vector has 2 and a feature map 4, batch included")
    request.check_pooling(pooled=rank == 4)
    return model, request.with_weights(sha256, size, pooled=rank == 4)


def _side(request: BackboneRequest, model: "keras.Model") -> int:
    shape = _only(request, "input", model.inputs)
    if len(shape) != 4 or shape[0] is not None or shape[1] != shape[2] or shape[3] != 3:
        raise _unfit(request, f"its input is {shape}; square pictures in RGB are (None, side, side, 3)")
    asked = request.preparation.size
    if asked and shape[1] not in (None, asked):
        raise _unfit(request, f"its input is {shape[1]} pixels wide; leave @{asked} out")
    return shape[1] or asked or _DEFAULT_SIZE


def _only(request: BackboneRequest, what: str, tensors: list[Any]) -> tuple[int | None, ...]:
    if len(tensors) != 1:
        raise _unfit(request, f"it has {len(tensors)} {what}s, and a backbone has one")
    return tuple(tensors[0].shape)


def _unfit(request: BackboneRequest, why: str) -> UsageError:
    return UsageError(f"--backbone {request.weights}: {why}.")


def _with_input_and_pooling(network: "keras.Model", backbone: Backbone, batch: int | None) -> "keras.Model":
    import keras

    size = backbone.preparation.size
    pixels = keras.Input((size, size, 3), batch_size=batch, dtype="uint8")
    seen = keras.ops.cast(pixels, network.inputs[0].dtype)
    if backbone.channels == "bgr":
        seen = keras.ops.flip(seen, axis=-1)
    if (backbone.scale, backbone.offset) != (1.0, 0.0):
        seen = keras.layers.Rescaling(backbone.scale, backbone.offset)(seen)
    features = network(seen)
    if len(features.shape) == 4:
        features = _pooling(backbone)(features)
    return keras.Model(pixels, keras.ops.cast(features, "float32"))


def _pooling(backbone: Backbone) -> "keras.layers.Layer":
    import keras

    return {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
    }[backbone.pooling]()


def _convert(model: "keras.Model") -> bytes:
    """Convert by `from_keras_model`: `from_concrete_functions` loses the weights under Keras 3."""
    converted: bytes = load_tensorflow().lite.TFLiteConverter.from_keras_model(model).convert()
    return converted


def _saved(model: "keras.Model") -> bytes:
    with tempfile.TemporaryDirectory(prefix="verger-compile-") as folder:
        path = Path(folder) / "model.keras"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # TensorFlow's, of NumPy
            model.save(path)
        return path.read_bytes()


def _tried(content: bytes, backbone: Backbone, width: int, runtime: RuntimeKind) -> Trial:
    with tempfile.TemporaryDirectory(prefix="verger-compile-") as folder:
        model = Path(str(model_path(Path(folder), "model", runtime)))
        model.write_bytes(content)
        return try_out(Candidate(model, backbone, width, runtime))


def _versions() -> dict[str, str]:
    import keras

    return {
        "tensorflow": load_tensorflow().__version__,
        "keras": keras.__version__,
        "litert": version("ai-edge-litert"),
    }
