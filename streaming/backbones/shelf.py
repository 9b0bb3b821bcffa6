"""Compiled backbones in a folder, mostly the lake's: `<featurizer>.tflite` and, written last, its `.json` manifest.

Where TensorFlow is to run it, `<featurizer>.keras` lies beside them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from conf.errors import BackboneError
from conf.files import write_atomically
from conf.uris import Place
from streaming.backbones.backbone import Backbone, from_declaration

_PIECE = 4 << 20
_SUFFIXES = {"litert": ".tflite", "tensorflow": ".keras"}


@dataclass(frozen=True)
class Manifest:
    """What is known of one compiled backbone.

    Attributes
    ----------
    backbone : Backbone
    width : int
        Length of the vector.
    tflite_sha256 : str
    tflite_bytes : int
    probe_error : float
        Worst ``‖LiteRT - Keras‖ / ‖Keras‖`` over the probe pictures; 0 where the user's own ``.tflite`` is the measure.
    seconds_per_picture : float
        LiteRT on one thread of the machine that compiled, decoding left out.
    versions : Mapping[str, str]
        Of tensorflow, keras and litert.
    created_at : str
        UTC, ISO 8601.
    weights : str
        The name under which the weights were asked for (``imagenet``, ``embedded``, ``random:SEED``), or their file's.
    task_bytes : Mapping[str, int]
        By runtime, the memory that one task needs for the backbone beside the file's pages; see
        `streaming.backbones.memory`.
    keras_sha256 : str
        Of the ``.keras`` file for the TensorFlow runtime; empty where there is none.
    """

    backbone: Backbone
    width: int
    tflite_sha256: str
    tflite_bytes: int
    probe_error: float
    seconds_per_picture: float
    versions: Mapping[str, str]
    created_at: str
    weights: str = ""
    task_bytes: Mapping[str, int] = field(default_factory=dict)
    keras_sha256: str = ""

    def to_json(self) -> str:
        """Give the manifest as it stands in the lake; `featurizer` is for people and foreign readers."""
        return json.dumps(
            {
                "featurizer": self.backbone.featurizer,
                **vars(self),
                "backbone": self.backbone.declaration(),
                "versions": dict(self.versions),
                "task_bytes": dict(self.task_bytes),
            },
            indent=2,
        )

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read `to_json` back; fields of a newer version are passed over, those that an older one lacked are empty.

        Raises
        ------
        ValueError, KeyError, TypeError
            The text is no manifest.
        BackboneError
            Its declaration is not one that this version knows.
        """
        fields: dict[str, Any] = json.loads(text)
        fields["backbone"] = from_declaration(fields["backbone"])
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__ if name in fields})


@dataclass(frozen=True)
class Compiled:
    """A backbone compiled, in memory: the model's bytes, those for TensorFlow or none, and what is known of it."""

    tflite: bytes
    manifest: Manifest
    keras: bytes = b""

    @property
    def backbone(self) -> Backbone:
        """The declaration that was compiled."""
        return self.manifest.backbone


def sha256_of(path: Place) -> str:
    """Return the sha256 of a file, read piece by piece: some models are larger than a machine's memory to spare."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
        return digest.hexdigest()


def model_path(folder: Place, featurizer: str, runtime: str = "litert") -> Place:
    """Where a featurizer's model for a runtime lies in a folder."""
    return folder / f"{featurizer}{_SUFFIXES[runtime]}"


def manifest_path(folder: Place, featurizer: str) -> Place:
    """Where a featurizer's manifest lies; what has none counts as not compiled."""
    return folder / f"{featurizer}.json"


def save(compiled: Compiled, folder: Place) -> Place:
    """Put a compiled backbone into a folder, the manifest last, and return the LiteRT model's path.

    A crash in between leaves a model without a manifest, which counts as not compiled: an older manifest goes first.
    """
    featurizer = compiled.backbone.featurizer
    model, manifest = model_path(folder, featurizer), manifest_path(folder, featurizer)
    folder.mkdir(parents=True, exist_ok=True)
    manifest.unlink(missing_ok=True)
    write_atomically(model, compiled.tflite)
    if compiled.keras:
        write_atomically(model_path(folder, featurizer, "tensorflow"), compiled.keras)
    write_atomically(manifest, compiled.manifest.to_json().encode())
    return model


def load(folder: Place, featurizer: str, runtime: str = "litert") -> Manifest | None:
    """Read and verify what `save` stored.

    Parameters
    ----------
    folder : Path or ObjectPath
        The lake's `backbones` folder, or another.
    featurizer : str
        The whole id.
    runtime : str
        Which of the two models is needed.

    Returns
    -------
    Manifest or None
        None when this featurizer is not compiled here, or not for this runtime.

    Raises
    ------
    BackboneError
        The manifest or the model is damaged; the message says which files to delete.
    """
    manifest = _read_manifest(manifest_path(folder, featurizer))
    if manifest is None or (runtime == "tensorflow" and not manifest.keras_sha256):
        return None
    _verify(model_path(folder, featurizer), manifest.tflite_sha256)
    if runtime == "tensorflow":
        _verify(model_path(folder, featurizer, runtime), manifest.keras_sha256)
    if manifest.backbone.featurizer != featurizer:
        raise _damaged(manifest_path(folder, featurizer))
    return manifest


def find(folder: Place, fits: Callable[[Manifest], bool]) -> Manifest | None:
    """Return the newest manifest in a folder that fits; manifests that cannot be read are passed over."""
    fitting = [each for path in folder.glob("*.json") if (each := _readable(path)) is not None and fits(each)]
    return max(fitting, key=lambda each: each.created_at, default=None)


def beside(model: Place) -> Compiled | None:
    """Read a compiled backbone that was brought along: a ``.tflite`` with the manifest of its name beside it.

    Returns
    -------
    Compiled or None
        None where no manifest of Verger's lies there: then the model is the user's own.

    Raises
    ------
    BackboneError
        The manifest or a model is damaged.
    """
    path = model.with_suffix(".json")
    if not _is_ours(path):
        return None
    manifest = _read_manifest(path)
    if manifest is None:
        return None
    _verify(model, manifest.tflite_sha256)
    keras = model.with_suffix(".keras")
    if not manifest.keras_sha256 or not keras.is_file():
        return Compiled(model.read_bytes(), replace(manifest, keras_sha256=""))
    _verify(keras, manifest.keras_sha256)
    return Compiled(model.read_bytes(), manifest, keras.read_bytes())


def _is_ours(path: Place) -> bool:
    """Tell a manifest from whatever else has the same name, such as a list of labels."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "featurizer" in found and "tflite_sha256" in found


def _readable(path: Place) -> Manifest | None:
    try:
        return _read_manifest(path)
    except BackboneError:
        return None


def _verify(model: Place, sha256: str) -> None:
    if not model.is_file() or sha256_of(model) != sha256:
        raise _damaged(model)


def _read_manifest(path: Place) -> Manifest | None:
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except BackboneError as error:
        raise BackboneError(f"Backbone {path}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error


def _damaged(path: Place) -> BackboneError:
    return BackboneError(f"Backbone {path} is damaged; delete {path.with_suffix('.*')} and start again.")
