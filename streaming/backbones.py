"""Which network, weights, pooling and input turn a picture into a vector, declared as one immutable value.

A *backbone* is everything that decides the vector. A *featurizer* is a backbone compiled; its id is a readable slug
plus a hash of the declaration, never of compiled bytes, so that one declaration has one id on every machine.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from conf.errors import BackboneError, UsageError

Fit = Literal["stretch", "crop", "pad"]
Filter = Literal["bilinear", "bicubic", "lanczos"]
Pooling = Literal["avg", "max", "flatten"]

STRIDE = 32  # every architecture here halves the picture five times
SMALLEST, LARGEST = 32, 1024


@dataclass(frozen=True)
class Preparation:
    """How a picture's bytes become the input tensor, uint8 of shape (size, size, 3).

    Attributes
    ----------
    size : int
        Side of the square input, in pixels.
    fit : {"stretch", "crop", "pad"}
        What happens to a picture that is not square.
    filter : {"bilinear", "bicubic", "lanczos"}
        Resize filter.
    decoding : int
        Version of the decoding rule; raised whenever `streaming.decode` changes its outcomes.
    """

    size: int
    fit: Fit = "stretch"
    filter: Filter = "bilinear"
    decoding: int = 1


@dataclass(frozen=True)
class Architecture:
    """A network without its top: what it expects and what it gives.

    Attributes
    ----------
    name : str
    sentence : str
        What it is, for a person who chooses.
    size : int
        Default side of the input.
    channels : int
        Channels of the last feature map.
    scale, offset : float
        The network sees ``pixels * scale + offset``, computed inside the graph.
    named_weights : {"embedded", "imagenet"}
        The weights that it knows by name; its default.
    suffix : str
        How the name of a file with its weights ends.
    """

    name: str
    sentence: str
    size: int
    channels: int
    scale: float
    offset: float
    named_weights: Literal["embedded", "imagenet"]
    suffix: str


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name="efficientnet-lite0",
            sentence="EfficientNet-Lite0 with the ImageNet weights that an installed package ships: needs no download.",
            size=224,
            channels=1280,
            scale=1 / 128,
            offset=-127 / 128,
            named_weights="embedded",
            suffix=".pth",
        ),
        Architecture(
            name="mobilenet-v2",
            sentence="MobileNetV2 at full width, the fastest here with full accuracy; Keras downloads its weights.",
            size=224,
            channels=1280,
            scale=1 / 127.5,
            offset=-1.0,
            named_weights="imagenet",
            suffix=".h5",
        ),
        Architecture(
            name="mobilenet-v2-0.35",
            sentence="MobileNetV2 at 0.35 of its width: a small and quick network; Keras downloads its weights.",
            size=224,
            channels=1280,
            scale=1 / 127.5,
            offset=-1.0,
            named_weights="imagenet",
            suffix=".h5",
        ),
    )
}


@dataclass(frozen=True)
class Backbone:
    """Everything that decides the vector: network, weights, pooling, preparation and scaling.

    Attributes
    ----------
    architecture : str
        A key of `ARCHITECTURES`.
    weights_sha256 : str
        Of the weights file, or of the text ``random:SEED``.
    pooling : {"avg", "max", "flatten"}
        How the last feature map becomes one vector.
    preparation : Preparation
    scale, offset : float
        The network sees ``pixels * scale + offset``.
    """

    architecture: str
    weights_sha256: str
    pooling: Pooling
    preparation: Preparation
    scale: float
    offset: float

    @property
    def width(self) -> int:
        """Length of the vector: the channels, or for ``flatten`` height x width x channels of the last feature map."""
        channels = ARCHITECTURES[self.architecture].channels
        side = -(-self.preparation.size // STRIDE)
        return channels * side**2 if self.pooling == "flatten" else channels

    def declaration(self) -> dict[str, Any]:
        """Everything that decides the vector, as plain values that json holds."""
        return dataclasses.asdict(self)

    @property
    def featurizer(self) -> str:
        """The id: a readable slug and the first 8 hex digits of the declaration's sha256."""
        canonical = json.dumps(self.declaration(), sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        fit = [] if self.preparation.fit == "stretch" else [self.preparation.fit]
        return "-".join([self.architecture, str(self.preparation.size), *fit, self.pooling, digest[:8]])


def from_declaration(declaration: Mapping[str, Any]) -> Backbone:
    """Read back what `Backbone.declaration` gave.

    Raises
    ------
    BackboneError
        The declaration names fields or an architecture that this version does not know.
    """
    try:
        preparation = Preparation(**declaration["preparation"])
        backbone = Backbone(**{**declaration, "preparation": preparation})
    except (KeyError, TypeError) as error:
        raise BackboneError(f"This version of Verger cannot read the backbone's declaration ({error}).") from error
    if backbone.architecture not in ARCHITECTURES:
        raise BackboneError(f"This version of Verger does not know the architecture {backbone.architecture!r}.")
    return backbone


@dataclass(frozen=True)
class BackboneRequest:
    """What the user asks for; `streaming.weights.resolve` finds and hashes the weights and so makes it a `Backbone`.

    Attributes
    ----------
    architecture : Architecture
    weights : str
        ``embedded``, ``imagenet``, ``random:SEED`` or a path; never empty.
    pooling : {"avg", "max", "flatten"}
    preparation : Preparation
    """

    architecture: Architecture
    weights: str
    pooling: Pooling
    preparation: Preparation

    def with_weights(self, sha256: str) -> Backbone:
        """Declare the backbone that these weights make of the request."""
        return Backbone(
            architecture=self.architecture.name,
            weights_sha256=sha256,
            pooling=self.pooling,
            preparation=self.preparation,
            scale=self.architecture.scale,
            offset=self.architecture.offset,
        )


def parse_backbone(spec: str, weights: str = "", pooling: str = "avg", fit: str = "stretch") -> BackboneRequest:
    """Read the four settings that choose a backbone.

    Parameters
    ----------
    spec : str
        ``NAME`` or ``NAME@SIZE``.
    weights : str
        Empty for the architecture's own, ``embedded``, ``imagenet``, ``random:SEED`` or the path of a file.
    pooling, fit : str
        One of `Pooling`, one of `Fit`.

    Raises
    ------
    UsageError
        A setting is outside what is known; the message names it and lists what is.
    """
    name, at, size = spec.partition("@")
    if name not in ARCHITECTURES:
        raise UsageError(f"--backbone {spec}: unknown name {name!r}; known: {', '.join(ARCHITECTURES)}.")
    architecture = ARCHITECTURES[name]
    return BackboneRequest(
        architecture=architecture,
        weights=_weights(architecture, weights),
        pooling=_one_of(get_args(Pooling), "--pooling", pooling),
        preparation=Preparation(
            size=_size(spec, size) if at else architecture.size,
            fit=_one_of(get_args(Fit), "--fit", fit),
        ),
    )


def _one_of(known: tuple[Any, ...], flag: str, text: str) -> Any:
    if text not in known:
        raise UsageError(f"{flag} {text}: unknown; known: {', '.join(known)}.")
    return text


def _size(spec: str, text: str) -> int:
    if re.fullmatch(r"[0-9]{1,4}", text) and SMALLEST <= int(text) <= LARGEST:
        return int(text)
    raise UsageError(f"--backbone {spec}: the size after @ is a whole number from {SMALLEST} to {LARGEST}.")


def _weights(architecture: Architecture, text: str) -> str:
    if text in ("", architecture.named_weights):
        return architecture.named_weights
    if re.fullmatch(r"random:[0-9]{1,9}", text):
        return f"random:{int(text.removeprefix('random:'))}"
    if text.endswith(architecture.suffix):
        return text
    raise UsageError(
        f"--weights {text}: {architecture.name} takes {architecture.named_weights}, random:SEED (a whole number) "
        f"or the path of a {architecture.suffix} file."
    )
