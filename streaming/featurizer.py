"""The featurizer that a wish means: its backbone resolved, compiled into the lake where it is not there yet."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conf.settings import Settings
from streaming.backbones import BackboneRequest, parse_backbone
from streaming.compile import compile_in_child
from streaming.shelf import Manifest, load, model_path, save
from streaming.weights import resolve


@dataclass(frozen=True)
class Featurizer:
    """A compiled backbone and where its model lies."""

    manifest: Manifest
    model: Path

    @property
    def id(self) -> str:
        """The featurizer's id."""
        return self.manifest.backbone.featurizer


def request_of(settings: Settings) -> BackboneRequest:
    """Return the wish that the settings express; raises UsageError as `parse_backbone` does."""
    return parse_backbone(settings.backbone, settings.weights, settings.pooling, settings.fit)


def ensure(request: BackboneRequest, folder: Path, say: Callable[[str], None]) -> Featurizer:
    """Return the featurizer from `folder`, compiling it there first where needed.

    Parameters
    ----------
    request
        The wish.
    folder
        The lake's `backbones`.
    say
        Told one sentence before a compilation, which takes a while.

    Raises
    ------
    UsageError, BackboneError
        The weights are missing, TensorFlow is, the compiled model differs from Keras, or its copy is damaged.
    """
    backbone, _ = resolve(request)
    manifest = load(folder, backbone.featurizer)
    if manifest is None:
        say(f"compiling {backbone.featurizer} (once per lake, about half a minute)")
        compiled = compile_in_child(request)
        save(compiled, folder)
        manifest = compiled.manifest
    return Featurizer(manifest, model_path(folder, backbone.featurizer))
