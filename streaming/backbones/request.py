"""What a person asks for by `--backbone` and its kin, read and checked: a backbone but for its weights."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from conf.errors import UsageError
from conf.uris import path_of
from streaming.backbones.architectures import Architecture, Kind, Preprocessing, architecture_named
from streaming.backbones.backbone import Backbone, Fit, Pooling, Preparation

_LARGEST = 1024
_MODEL_FILES: dict[str, Kind] = {".keras": "keras", ".tflite": "tflite"}
_OPTIONS = ("pooling", "fit", "weights")


@dataclass(frozen=True)
class BackboneRequest:
    """What the user asks for; the weights' sha256 makes it a `Backbone`.

    Attributes
    ----------
    architecture : Architecture
    weights : str
        ``embedded``, ``imagenet``, ``random:SEED`` or the path of a file; of the user's own model its path.
    pooling : {"avg", "max", "flatten"}
    preparation : Preparation
    """

    architecture: Architecture
    weights: str
    pooling: Pooling
    preparation: Preparation

    @property
    def file(self) -> Path:
        """The file that `weights` names."""
        return Path(self.weights).expanduser()

    @property
    def origin(self) -> str:
        """Where the weights come from, as a manifest says it: their name, or the file's without its folder."""
        named = self.weights == self.architecture.named_weights or self.weights.startswith("random:")
        return self.weights if named else self.file.name

    def check_pooling(self, pooled: bool) -> None:
        """Refuse another pooling than the default for a model of one's own that gives a vector.

        Raises
        ------
        UsageError
        """
        if not pooled and self.pooling != "avg":
            raise UsageError(
                f"--pooling {self.pooling}: {self.file.name} gives a vector already, there is nothing to pool; leave "
                "--pooling out, or put ,pooling=avg behind its name."
            )

    def with_weights(self, sha256: str, size: int = 0, pooled: bool = True) -> Backbone:
        """Declare the backbone that these weights make of the request.

        Parameters
        ----------
        sha256 : str
        size : int
            Side of the input where the request leaves it to the model.
        pooled : bool
            Whether `pooling` has anything to do.
        """
        preprocessing = self.architecture.preprocessing
        return Backbone(
            architecture=self.architecture.name,
            weights_sha256=sha256,
            pooling=self.pooling if pooled else "none",
            preparation=dataclasses.replace(self.preparation, size=self.preparation.size or size),
            scale=preprocessing.scale,
            offset=preprocessing.offset,
            channels=preprocessing.channels,
            kind=self.architecture.kind,
        )

    def gives(self, backbone: Backbone) -> bool:
        """Whether a backbone is what this request becomes with its weights."""
        size, pooled = backbone.preparation.size, backbone.pooling != "none"
        return self.with_weights(backbone.weights_sha256, size, pooled) == backbone

    def check_compiled(self, backbone: Backbone) -> None:
        """Refuse a compiled backbone that contradicts what the request says beside its name.

        Raises
        ------
        UsageError
        """
        has = backbone.preparation
        for said, differs, value in (
            (f"@{self.preparation.size}", self.preparation.size not in (0, has.size), has.size),
            (f"fit {self.preparation.fit}", self.preparation.fit not in ("stretch", has.fit), has.fit),
            (f"pooling {self.pooling}", self.pooling not in ("avg", backbone.pooling), backbone.pooling),
        ):
            if differs:
                raise UsageError(f"--backbone {self.weights}: is compiled for {value}; leave {said} out.")


def parse_backbone(spec: str, weights: str = "", pooling: str = "avg", fit: str = "stretch") -> BackboneRequest:
    """Read the settings that choose a backbone.

    Parameters
    ----------
    spec : str
        ``NAME[@SIZE][,pooling=…][,fit=…][,weights=…]``; NAME is a network or the path or file:// URI of a ``.keras`` or
        ``.tflite`` file. What it says goes before the other parameters.
    weights : str
        Empty for the architecture's own, ``embedded``, ``imagenet``, ``random:SEED``, or a file's path or file:// URI.
    pooling, fit : str
        One of `Pooling`, one of `Fit`.

    Raises
    ------
    UsageError
        A setting is outside what is known; the message names it and lists what is.
    """
    name, options = _split(spec)
    said = {"pooling": f"--pooling {pooling}", "fit": f"--fit {fit}", "weights": f"--weights {weights}"}
    said |= {key: f"--backbone {spec}: {key}={value}" for key, value in options.items()}
    values = {"pooling": pooling, "fit": fit, "weights": weights} | options
    architecture, size, own = _architecture(spec, name)
    return BackboneRequest(
        architecture=architecture,
        weights=_weights(architecture, said["weights"], values["weights"], own),
        pooling=_one_of(get_args(Pooling), said["pooling"], values["pooling"]),
        preparation=Preparation(size=size, fit=_one_of(get_args(Fit), said["fit"], values["fit"])),
    )


def _split(spec: str) -> tuple[str, dict[str, str]]:
    """Part the name from the options behind it; any other comma belongs to a path."""
    name, *rest = re.split(rf",(?=(?:{'|'.join(_OPTIONS)})=)", spec)
    pairs = [option.split("=", 1) for option in rest]
    options = dict(pairs)
    if len(options) < len(pairs):
        raise UsageError(f"--backbone {spec}: says one of {', '.join(_OPTIONS)} twice.")
    return name, options


def _one_of(known: tuple[Any, ...], said: str, text: str) -> Any:
    if text not in known:
        raise UsageError(f"{said}: unknown; known: {', '.join(known)}.")
    return text


def _architecture(spec: str, text: str) -> tuple[Architecture, int, str]:
    """Give the architecture, the side of its input, and the path of the user's own model or an empty text."""
    name, at, size = text.rpartition("@") if "@" in text else (text, "", "")
    if at and not _kind(name) and _kind(text):
        name, at = text, ""  # the path holds an @
    kind = _kind(name)
    if kind:
        path = _path(f"--backbone {spec}", name)
        return _own_model(Path(path).stem, kind), _size(spec, size, 1) if at else 0, path
    architecture = architecture_named(name)
    if architecture is None:
        raise UsageError(
            f"--backbone {spec}: unknown name {name!r}; known: efficientnet-lite0 and the networks of "
            "keras.applications, such as vgg16 or resnet50-v2 (`verger backbone list`), a .keras or a .tflite file; "
            f"behind it {' '.join(f',{each}=…' for each in _OPTIONS)}."
        )
    return architecture, _size(spec, size, architecture.smallest) if at else architecture.size, ""


def _kind(name: str) -> Kind | None:
    return _MODEL_FILES.get(Path(name).suffix.lower())


def _own_model(stem: str, kind: Kind) -> Architecture:
    """Declare a model file under its name made safe; its preprocessing is inside, it sees pixels from 0 to 255."""
    return Architecture(
        name=re.sub(r"[^a-z0-9]+", "-", stem.lower())[:32].strip("-") or "model",
        sentence="A model of one's own.",
        size=0,
        preprocessing=Preprocessing(),
        named_weights="",
        kind=kind,
    )


def _size(spec: str, text: str, smallest: int) -> int:
    if re.fullmatch(r"[0-9]{1,4}", text) and smallest <= int(text) <= _LARGEST:
        return int(text)
    raise UsageError(f"--backbone {spec}: the size after @ is a whole number from {smallest} to {_LARGEST}.")


def _weights(architecture: Architecture, said: str, text: str, own: str) -> str:
    if own and text:
        raise UsageError(
            f"{said}: {Path(own).name} brings its own weights; leave --weights out, or put ,weights=… behind the name "
            "of the --backbone that it is for."
        )
    if own:
        return own
    if text in ("", architecture.named_weights):
        return architecture.named_weights
    if re.fullmatch(r"random:[0-9]{1,9}", text):
        return f"random:{int(text.removeprefix('random:'))}"
    if text.endswith(architecture.suffix):
        return _path(said, text)
    raise UsageError(
        f"{said}: {architecture.name} takes {architecture.named_weights}, random:SEED (a whole number) "
        f"or the path of a {architecture.suffix} file."
    )


def _path(said: str, text: str) -> str:
    if "://" not in text:
        return text
    if not text.startswith(("file:///", "file://localhost/")):
        raise UsageError(f"{said}: only file:// is reached in this version: give a file of this machine.")
    return str(path_of(text))
