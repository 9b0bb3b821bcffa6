"""Compiled backbones kept in the lake: `backbones/<featurizer>.tflite` and, written last, its `.json` manifest."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.errors import BackboneError
from conf.files import write_atomically
from streaming.backbones import Backbone, from_declaration


@dataclass(frozen=True)
class Manifest:
    """What is known of one compiled backbone.

    Attributes
    ----------
    backbone : Backbone
    tflite_sha256 : str
    tflite_bytes : int
    probe_error : float
        Worst ``‖LiteRT - Keras‖ / ‖Keras‖`` over the probe pictures.
    seconds_per_picture : float
        LiteRT on one thread of the machine that compiled, decoding left out.
    versions : Mapping[str, str]
        Of tensorflow, keras and litert.
    created_at : str
        UTC, ISO 8601.
    """

    backbone: Backbone
    tflite_sha256: str
    tflite_bytes: int
    probe_error: float
    seconds_per_picture: float
    versions: Mapping[str, str]
    created_at: str

    def to_json(self) -> str:
        """Give the manifest as it stands in the lake; `featurizer` and `width` are for people and foreign readers."""
        return json.dumps(
            {
                "featurizer": self.backbone.featurizer,
                "width": self.backbone.width,
                **vars(self),
                "backbone": self.backbone.declaration(),
                "versions": dict(self.versions),
            },
            indent=2,
        )

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read `to_json` back; fields of a newer version are passed over.

        Raises
        ------
        ValueError, KeyError, TypeError
            The text is no manifest.
        BackboneError
            Its declaration is not one that this version knows.
        """
        fields: dict[str, Any] = json.loads(text)
        fields["backbone"] = from_declaration(fields["backbone"])
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Compiled:
    """A backbone compiled, in memory: the model's bytes and what is known of it."""

    tflite: bytes
    manifest: Manifest

    @property
    def backbone(self) -> Backbone:
        """The declaration that was compiled."""
        return self.manifest.backbone


def model_path(folder: Path, featurizer: str) -> Path:
    """Where a featurizer's model lies under the lake's `backbones` folder."""
    return folder / f"{featurizer}.tflite"


def manifest_path(folder: Path, featurizer: str) -> Path:
    """Where a featurizer's manifest lies; what has none counts as not compiled."""
    return folder / f"{featurizer}.json"


def save(compiled: Compiled, folder: Path) -> Path:
    """Put a compiled backbone into a folder, the manifest last, and return the model's path.

    A crash in between leaves a model without a manifest, which counts as not compiled: an older manifest goes first.
    """
    featurizer = compiled.backbone.featurizer
    model, manifest = model_path(folder, featurizer), manifest_path(folder, featurizer)
    folder.mkdir(parents=True, exist_ok=True)
    manifest.unlink(missing_ok=True)
    write_atomically(model, compiled.tflite)
    write_atomically(manifest, compiled.manifest.to_json().encode())
    return model


def load(folder: Path, featurizer: str) -> Manifest | None:
    """Read and verify what `save` stored.

    Parameters
    ----------
    folder : Path
        The lake's `backbones` folder.
    featurizer : str
        The whole id.

    Returns
    -------
    Manifest or None
        None when this featurizer is not compiled here.

    Raises
    ------
    BackboneError
        The manifest or the model is damaged; the message says which files to delete.
    """
    manifest = _read_manifest(manifest_path(folder, featurizer))
    if manifest is None:
        return None
    model = model_path(folder, featurizer)
    if not model.is_file() or hashlib.sha256(model.read_bytes()).hexdigest() != manifest.tflite_sha256:
        raise _damaged(model)
    if manifest.backbone.featurizer != featurizer:
        raise _damaged(manifest_path(folder, featurizer))
    return manifest


def _read_manifest(path: Path) -> Manifest | None:
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except BackboneError as error:
        raise BackboneError(f"Backbone {path}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> BackboneError:
    return BackboneError(f"Backbone {path} is damaged; delete {path.with_suffix('.*')} and start again.")
