"""The featurizers that the settings mean: backbones resolved, compiled into the lake where they are not there yet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from conf.errors import BackboneError, UsageError
from conf.settings import Settings
from conf.uris import Place
from streaming.backbones.compile import compile_in_child
from streaming.backbones.keras_files import read_checked
from streaming.backbones.probes import check_usable
from streaming.backbones.request import BackboneRequest, parse_backbone
from streaming.backbones.runtime import RuntimeKind
from streaming.backbones.shelf import Compiled, Manifest, beside, find, load, model_path, save, sha256_of
from streaming.backbones.tflite_files import adopt
from streaming.backbones.trial import Candidate, try_out
from streaming.backbones.weights import resolve


@dataclass(frozen=True)
class Featurizer:
    """A compiled backbone and where the model that the runtime needs lies."""

    manifest: Manifest
    model: Place

    @property
    def id(self) -> str:
        """The featurizer's id."""
        return self.manifest.backbone.featurizer

    @property
    def width(self) -> int:
        """Length of its vectors."""
        return self.manifest.width


def requests_of(settings: Settings) -> list[BackboneRequest]:
    """Return the requests that the settings express, one for each `--backbone`.

    Raises
    ------
    UsageError
        As `parse_backbone`, or one is asked for twice.
    """
    requests = [parse_backbone(each, settings.weights, settings.pooling, settings.fit) for each in settings.backbone]
    for place, spec in enumerate(settings.backbone):
        if requests[place] in requests[:place]:
            raise UsageError(f"--backbone {spec}: is asked for twice.")
    return requests


def ensure_all(
    requests: Sequence[BackboneRequest], folder: Place, say: Callable[[str], None], runtime: RuntimeKind = "litert"
) -> list[Featurizer]:
    """Return the featurizer of each request, as `ensure` does.

    Raises
    ------
    UsageError, BackboneError
        As `ensure`; also when two requests mean the same featurizer.
    """
    featurizers = [ensure(each, folder, say, runtime) for each in requests]
    for place, featurizer in enumerate(featurizers):
        if featurizer.id in [each.id for each in featurizers[:place]]:
            raise UsageError(f"--backbone: two of them mean the same featurizer, {featurizer.id}; leave one out.")
    return featurizers


def ensure(
    request: BackboneRequest, folder: Place, say: Callable[[str], None], runtime: RuntimeKind = "litert"
) -> Featurizer:
    """Return the featurizer from `folder`, compiling or copying it there first where needed.

    Parameters
    ----------
    request
        What is asked for.
    folder
        The lake's `backbones`, or any folder that compiled backbones are to be taken to a lake from.
    say
        Told one sentence before a compilation, which takes a while.
    runtime
        What is to run it; the LiteRT model is always there.

    Raises
    ------
    UsageError, BackboneError
        The weights are missing, TensorFlow is, the compiled model differs from Keras, its copy is damaged, or the
        user's own model is not one that can be used.
    """
    if runtime == "tensorflow" and find_spec("tensorflow") is None:
        raise BackboneError("--runtime tensorflow: TensorFlow is not installed: pip install 'verger[compile]'")
    seek = {"network": _network, "keras": _keras_file, "tflite": _tflite_file}[request.architecture.kind]
    manifest = seek(request, folder, say, runtime)
    return Featurizer(manifest, model_path(folder, manifest.backbone.featurizer, runtime))


def _network(request: BackboneRequest, folder: Place, say: Callable[[str], None], runtime: RuntimeKind) -> Manifest:
    """Find a network known by name, one with Keras' own weights by their name: that takes no download."""
    if request.weights == "imagenet":
        found = _found(request, folder, lambda each: each.weights == "imagenet", runtime)
        if found is not None:
            return found
    backbone, _ = resolve(request)
    return load(folder, backbone.featurizer, runtime) or _compiled(request, backbone.featurizer, folder, say, runtime)


def _keras_file(request: BackboneRequest, folder: Place, say: Callable[[str], None], runtime: RuntimeKind) -> Manifest:
    found = _found_file(request, folder, runtime)
    return found or _compiled(request, request.file.name, folder, say, runtime)


def _tflite_file(request: BackboneRequest, folder: Place, say: Callable[[str], None], runtime: RuntimeKind) -> Manifest:
    """Take a backbone that was compiled elsewhere, or a model of the user's own."""
    brought = beside(request.file)
    if runtime == "tensorflow" and not (brought and brought.keras):
        raise UsageError(
            f"--backbone {request.weights}: TensorFlow cannot run a .tflite file; leave --runtime out, or bring the "
            ".keras file that `verger backbone compile --runtime tensorflow` puts beside it."
        )
    if brought is None:
        return _found_file(request, folder, runtime) or _kept(adopt(request), folder)
    request.check_compiled(brought.backbone)
    return load(folder, brought.backbone.featurizer, runtime) or _kept(_tried(brought, request.file), folder)


def _tried(brought: Compiled, model: Path) -> Compiled:
    """Return what was brought along once it has run: its manifest may say whatever whoever made it likes."""
    if brought.keras:
        read_checked(model.with_suffix(".keras"))
    check_usable(try_out(Candidate(model, brought.backbone, brought.manifest.width)).vectors)
    return brought


def _compiled(
    request: BackboneRequest, name: str, folder: Place, say: Callable[[str], None], runtime: RuntimeKind
) -> Manifest:
    say(f"compiling {name} (once per lake, about half a minute)")
    return _kept(compile_in_child(request, runtime), folder)


def _kept(compiled: Compiled, folder: Place) -> Manifest:
    save(compiled, folder)
    return compiled.manifest


def _found_file(request: BackboneRequest, folder: Place, runtime: RuntimeKind) -> Manifest | None:
    """Find what was made of the user's own model, by its content."""
    if not request.file.is_file():
        raise UsageError(f"--backbone {request.weights}: there is no such file.")
    sha256 = sha256_of(request.file)
    found = _found(request, folder, lambda each: each.backbone.weights_sha256 == sha256, runtime)
    if found is not None:
        request.check_pooling(pooled=found.backbone.pooling != "none")
    return found


def _found(
    request: BackboneRequest, folder: Place, fits: Callable[[Manifest], bool], runtime: RuntimeKind
) -> Manifest | None:
    """Find a compiled backbone that a request would give, without knowing its weights, and verify it."""
    found = find(folder, lambda each: fits(each) and request.gives(each.backbone))
    return found and load(folder, found.backbone.featurizer, runtime)
