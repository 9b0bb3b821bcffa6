"""Finding a network's weights: embedded, Keras' own, a file, or drawn from a seed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.errors import UsageError
from streaming.backbones import efficientnet_lite0
from streaming.backbones.backbone import Backbone
from streaming.backbones.child import in_child
from streaming.backbones.networks import published
from streaming.backbones.request import BackboneRequest
from streaming.backbones.shelf import sha256_of


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


def resolve(
    request: BackboneRequest, call: Callable[[Callable[..., Any], Any], Any] = in_child
) -> tuple[Backbone, WeightsSource]:
    """Find the weights of a network known by name, downloading them if they are Keras', and declare the backbone.

    TensorFlow stays out of this process, and embedded weights need not be installed: a machine that cannot compile
    still learns which featurizer to look for.

    Parameters
    ----------
    request : BackboneRequest
    call : callable, optional
        Calls a function that needs TensorFlow, in a process of its own by default.

    Raises
    ------
    UsageError
        The weights file is missing.
    BackboneError
        Keras' weights cannot be downloaded.
    """
    source = _source(request, call)
    return request.with_weights(source.sha256), source


def _source(request: BackboneRequest, call: Callable[[Callable[..., Any], Any], Any]) -> WeightsSource:
    if request.weights.startswith("random:"):
        sha256 = hashlib.sha256(request.weights.encode()).hexdigest()
        return WeightsSource(sha256, seed=int(request.weights.removeprefix("random:")))
    if request.weights == "embedded":
        return WeightsSource(efficientnet_lite0.EMBEDDED_SHA256)
    path = call(published, request) if request.weights == "imagenet" else request.file
    if not path.is_file():
        raise UsageError(f"--weights {request.weights}: there is no such file.")
    return WeightsSource(sha256_of(path), path=path)
