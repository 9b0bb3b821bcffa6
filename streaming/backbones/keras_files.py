"""A `.keras` file of the user's own, opened without running anything that it brings.

A `.keras` file is a zip archive of a configuration, which names classes and functions to call, and of weights. Keras
refuses Lambda layers by itself (``safe_mode``) and has closed further doors version by version; here a file is held
against what a network needs, before Keras sees it.
"""

import hashlib
import io
import json
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conf.errors import UsageError, first_line
from streaming.backbones import hdf5_files

if TYPE_CHECKING:
    import keras

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = frozenset({_CONFIG, "metadata.json", _WEIGHTS})
_CODE = "which is code, and that of a file is never run; use Keras' own layers"
# What zipfile and json run into where the bytes are none of theirs, damaged, or encrypted.
_NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, RuntimeError)
_MODULES = frozenset(
    {
        "keras",
        "keras.constraints",
        "keras.dtype_policies",
        "keras.initializers",
        "keras.layers",
        "keras.models",
        "keras.random",
        "keras.regularizers",
    }
)
_INNER_MODULES = ("keras.src.applications.", "keras.src.layers.", "keras.src.models.", "keras.src.ops.")
_VALUES = frozenset({"__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__"})
# They call into other frameworks, or read files that the configuration names.
_NOT_LAYERS = frozenset(
    {"FlaxLayer", "IntegerLookup", "JaxLayer", "StringLookup", "TFSMLayer", "TextVectorization", "TorchModuleWrapper"}
)


def open_keras(path: Path) -> "tuple[keras.Model, str]":
    """Open a `.keras` file in this process, which then holds TensorFlow, and give its sha256.

    Raises
    ------
    UsageError
        There is no such file, it is no Keras model, or it brings more than layers of Keras and their weights.
    """
    data = read_checked(path)
    _check_weights(path, data)
    import keras

    with tempfile.TemporaryDirectory(prefix="verger-compile-") as folder:
        copy = Path(folder) / "model.keras"  # what was checked, whatever happens to the file meanwhile
        copy.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = keras.saving.load_model(copy, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises whatever its layers run into
            fault = f"Keras cannot open it ({first_line(error)}); save it again with the version installed here"
            raise _refused(path, fault) from error
    return model, hashlib.sha256(data).hexdigest()


def read_checked(path: Path) -> bytes:
    """Read a `.keras` file and hold its members and its configuration against what a network needs.

    Raises
    ------
    UsageError
        As `open_keras`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _refused(path, f"{error.strerror or error}") from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_members(path, archive, len(data))
            config = json.loads(archive.read(_CONFIG))
    except _NO_ARCHIVE as error:
        raise _refused(path, f"not a model saved by Keras 3 as .keras ({first_line(error)})") from error
    if not isinstance(config, dict):
        raise _refused(path, "not a model saved by Keras 3 as .keras (its configuration is no object)")
    config.pop("compile_config", None)  # of training; Verger opens the file without it
    for part in _objects(config):
        _check_object(path, part)
    return data


def _check_members(path: Path, archive: zipfile.ZipFile, size: int) -> None:
    names = archive.namelist()
    foreign = sorted(set(names) - _MEMBERS)
    if foreign:
        raise _refused(path, f"it holds {foreign[0]!r}, and a model consists of {', '.join(sorted(_MEMBERS))} alone")
    if len(set(names)) < len(names):
        raise _refused(path, "it holds a member twice")
    if sum(each.file_size for each in archive.infolist()) > hdf5_files.unpacked_limit(size):
        raise _refused(path, f"unpacked it would be more than {hdf5_files.MOST_EXPANSION} times its size")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Walk every object of a configuration that names a class, however deep."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if "class_name" in part:
                yield part
            left.extend(part.values())
        elif isinstance(part, list):
            left.extend(part)


def _check_object(path: Path, part: dict[str, Any]) -> None:
    name, module, registered = (str(part.get(key) or "") for key in ("class_name", "module", "registered_name"))
    if name in _VALUES:
        return
    if name in ("Lambda", "__lambda__"):
        raise _refused(path, f"it holds a Lambda layer, {_CODE}")
    if name == "function":
        raise _refused(path, f"it names the function {part.get('config')!r}, {_CODE}")
    if name in _NOT_LAYERS:
        raise _refused(path, f"it holds a {name} layer, which reaches outside the file; leave it out of the model")
    own = module in _MODULES or module.startswith(_INNER_MODULES)
    if not own or not name[:1].isupper() or registered not in ("", name):
        where = registered if registered not in ("", name) else f"{module}.{name}".removeprefix(".")
        raise _refused(path, f"it names the class {where!r}, which is not one of Keras' own layers")


def _check_weights(path: Path, data: bytes) -> None:
    """Refuse weights that are kept outside the file, or that unpack to more than it could hold."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = hdf5_files.fault(io.BytesIO(archive.read(_WEIGHTS)), len(data))
    except (OSError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise _refused(path, f"its weights cannot be read ({first_line(error)})") from error
    if found:
        raise _refused(path, f"its weights hold {found}")


def _refused(path: Path, why: str) -> UsageError:
    return UsageError(f"--backbone {path}: {why}.")
