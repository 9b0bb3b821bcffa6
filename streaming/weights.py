"""Finding a backbone's weights: embedded, Keras' own, a file, or drawn from a seed."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from conf.errors import BackboneError, UsageError, first_line
from streaming import efficientnet_lite0
from streaming.backbones import Backbone, BackboneRequest
from streaming.child import in_child, load_tensorflow

ALPHA = {"mobilenet-v2": 1.0, "mobilenet-v2-0.35": 0.35}
_IMAGENET_SIZES = (96, 128, 160, 192, 224)  # each has its own weights; any other size takes those of 224, as in Keras


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights come from: a file, a seed or, with neither, the file of the installed package.

    Attributes
    ----------
    sha256 : str
        Of the file's bytes, or of the text ``random:SEED``.
    path : Path or None
    seed : int or None
    """

    sha256: str
    path: Path | None = None
    seed: int | None = None


def resolve(request: BackboneRequest) -> tuple[Backbone, WeightsSource]:
    """Find the weights, downloading them if they are Keras', and declare the backbone.

    TensorFlow stays out of this process, and embedded weights need not be installed: a machine that cannot compile
    still learns which featurizer to look for.

    Raises
    ------
    UsageError
        The weights file is missing.
    BackboneError
        Keras' weights cannot be downloaded.
    """
    source = _source(request)
    return request.with_weights(source.sha256), source


def _source(request: BackboneRequest) -> WeightsSource:
    if request.weights.startswith("random:"):
        sha256 = hashlib.sha256(request.weights.encode()).hexdigest()
        return WeightsSource(sha256, seed=int(request.weights.removeprefix("random:")))
    if request.weights == "embedded":
        return WeightsSource(efficientnet_lite0.EMBEDDED_SHA256)
    path = _imagenet(request) if request.weights == "imagenet" else Path(request.weights).expanduser()
    if not path.is_file():
        raise UsageError(f"--weights {request.weights}: there is no such file.")
    return WeightsSource(hashlib.sha256(path.read_bytes()).hexdigest(), path=path)


def _imagenet(request: BackboneRequest) -> Path:
    """Take Keras' file from its cache; a child downloads it, so that TensorFlow stays out of this process."""
    alpha, size = ALPHA[request.architecture.name], request.preparation.size
    rows = size if size in _IMAGENET_SIZES else 224
    name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{rows}_no_top.h5"
    cached = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models" / name
    if not cached.is_file():
        in_child(_download, name)
    return cached


def _download(name: str) -> None:
    """Let Keras fetch its file into its cache, as building the network does."""
    load_tensorflow()
    import keras

    alpha, rows = name.removesuffix("_no_top.h5").split("_")[-2:]
    try:
        keras.applications.MobileNetV2((int(rows), int(rows), 3), float(alpha), include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises plain Exception
        raise BackboneError(
            f"the imagenet weights could not be downloaded ({first_line(error)}): name a file with --weights PATH"
        ) from error
