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

from conf.errors import BackboneError
from streaming.backbones.architectures import ARCHITECTURES, Kind, Order, PerChannel

Fit = Literal["stretch", "crop", "pad"]
Filter = Literal["bilinear", "bicubic", "lanczos"]
Pooling = Literal["avg", "max", "flatten"]

_NAME = re.compile("[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class Preparation:
    """How a picture's bytes become the input tensor, uint8 of shape (size, size, 3).

    Attributes
    ----------
    size : int
        Side of the square input, in pixels; in a request 0 for what the user's own model takes.
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
class Backbone:
    """Everything that decides the vector: network, weights, pooling, preparation and scaling.

    Attributes
    ----------
    architecture : str
        A key of `ARCHITECTURES`; the file's name made safe where the model is the user's own.
    weights_sha256 : str
        Of the weights file, of the text ``random:SEED``, or of the user's own model.
    pooling : {"avg", "max", "flatten", "none"}
        How the last feature map becomes one vector; none where the user's own model gives a vector.
    preparation : Preparation
    scale, offset : float or tuple of 3 floats
        The network sees ``pixels * scale + offset``.
    channels : {"rgb", "bgr"}
        The order of channels that the network sees; `scale` and `offset` are in it.
    kind : {"network", "keras", "tflite"}
        A network known by name, or a model file of the user's own.
    """

    architecture: str
    weights_sha256: str
    pooling: Pooling | Literal["none"]
    preparation: Preparation
    scale: PerChannel
    offset: PerChannel
    channels: Order = "rgb"
    kind: Kind = "network"

    def declaration(self) -> dict[str, Any]:
        """Everything that decides the vector, as plain values that json holds.

        A field with a default is left out where it has it: backbones declared before there was such a field keep their
        ids.
        """
        values = dataclasses.asdict(self)
        later = {
            each.name: each.default for each in dataclasses.fields(self) if each.default is not dataclasses.MISSING
        }
        return {name: value for name, value in values.items() if name not in later or value != later[name]}

    @property
    def featurizer(self) -> str:
        """The id: a readable slug and the first 8 hex digits of the declaration's sha256."""
        canonical = json.dumps(self.declaration(), sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        fit = [] if self.preparation.fit == "stretch" else [self.preparation.fit]
        pooling = [] if self.pooling == "none" else [self.pooling]
        return "-".join([self.architecture, str(self.preparation.size), *fit, *pooling, digest[:8]])


def from_declaration(declaration: Mapping[str, Any]) -> Backbone:
    """Read back what `Backbone.declaration` gave.

    Raises
    ------
    BackboneError
        The declaration names fields, values or an architecture that this version does not know; or a name that would
        not do for a file's, as the featurizer's does.
    """
    try:
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in declaration.items()
        }
        backbone = Backbone(**{**plain, "preparation": Preparation(**plain["preparation"])})
    except (KeyError, TypeError) as error:
        raise BackboneError(f"This version of Verger cannot read the backbone's declaration ({error}).") from error
    strange = _strange(backbone)
    if strange:
        raise BackboneError(f"This version of Verger cannot read the backbone's declaration (its {strange}).")
    if backbone.kind == "network" and backbone.architecture not in ARCHITECTURES:
        raise BackboneError(f"This version of Verger does not know the architecture {backbone.architecture!r}.")
    return backbone


def _strange(backbone: Backbone) -> str:
    """Return which field of a declaration that was read holds what no declaration does; empty for none."""
    preparation = backbone.preparation
    usual = {
        "architecture": isinstance(backbone.architecture, str) and _NAME.fullmatch(backbone.architecture),
        "pooling": backbone.pooling in (*get_args(Pooling), "none"),
        "kind": backbone.kind in get_args(Kind),
        "channels": backbone.channels in get_args(Order),
        "size": type(preparation.size) is int and preparation.size > 0,
        "fit": preparation.fit in get_args(Fit),
        "filter": preparation.filter in get_args(Filter),
    }
    return next((name for name, holds in usual.items() if not holds), "")
