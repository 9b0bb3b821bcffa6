"""Models of one's own as `.keras` files: what is taken, and what is refused before Keras opens it."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf.errors import BackboneError, UsageError
from streaming.backbones.compile import compile_backbone
from streaming.backbones.keras_files import open_keras, read_checked
from streaming.backbones.probes import probe_pictures, worst_error
from streaming.backbones.request import parse_backbone
from streaming.backbones.runtime import Runtime
from streaming.backbones.shelf import save
from tests.places import local

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of saving in Keras


def convolved(size: int | None = 32, **first: Any) -> Any:
    """Build a small model of one's own with its preprocessing inside: pixels -> feature map."""
    import keras

    keras.utils.set_random_seed(1)
    pixels = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pixels)
    x = keras.layers.Conv2D(6, 3, strides=2, activation="gelu", **first)(x)
    return keras.Model(pixels, keras.layers.SpatialDropout2D(0.5)(x) * 2.0)


def pooled(size: int | None = 32) -> Any:
    """Build one that gives a vector, with a model inside."""
    import keras

    inner = convolved(size)
    return keras.Sequential([keras.Input((size, size, 3)), inner, keras.layers.GlobalAveragePooling2D()])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save `convolved`, trained as people do: with a loss of their own, which Verger has no need of."""
    path = tmp_path_factory.mktemp("models") / "mine.keras"
    model = convolved()
    model.compile("adam", loss=squares)
    model.save(path)
    return path


def squares(truth: Any, guess: Any) -> Any:
    return (truth - guess) ** 2


def expected(model: Any, size: int, pool: Callable[[Any], Any]) -> Any:
    return pool(np.asarray(model(probe_pictures(size).astype(np.float32))))


class TestVectors:
    """A `.keras` file becomes a backbone that gives what the model gives for pixels from 0 to 255."""

    @pytest.mark.parametrize(
        ("build", "option", "pool", "slug"),
        [
            (convolved, "", lambda x: x.mean((1, 2)), "mine-32-avg-"),
            (lambda: convolved(None), "@40,pooling=max", lambda x: x.max((1, 2)), "mine-40-max-"),
            (lambda: pooled(None), "@33,fit=pad", lambda x: x, "mine-33-pad-"),
        ],
        ids=["map", "open map", "vector"],
    )
    def test_they_are_the_models_own(
        self, build: Callable[[], Any], option: str, pool: Callable[[Any], Any], slug: str, tmp_path: Path
    ) -> None:
        """A feature map is pooled, a vector stays; a size that the model leaves open is the one asked for."""
        model = build()
        model.save(tmp_path / "mine.keras")
        request = parse_backbone(f"{tmp_path}/mine.keras{option}")
        compiled = compile_backbone(request)
        size = compiled.backbone.preparation.size
        runtime = Runtime(local(save(compiled, tmp_path)), compiled.backbone, compiled.manifest.width)
        vectors = np.stack(runtime.vectors(list(probe_pictures(size))))
        assert worst_error(vectors, expected(model, size, pool)) < 1e-5
        assert compiled.backbone.featurizer.startswith(slug)
        assert (compiled.manifest.width, compiled.manifest.weights) == (6, "mine.keras")

    def test_a_size_left_open_is_224_by_default(self, tmp_path: Path) -> None:
        """As for most networks."""
        convolved(None).save(tmp_path / "open.keras")
        assert compile_backbone(parse_backbone(f"{tmp_path}/open.keras")).backbone.preparation.size == 224


class TestUnfit:
    """A model that is no backbone is refused with what it has and what is needed."""

    @pytest.mark.parametrize(
        ("build", "option", "says"),
        [
            (lambda: convolved(32), "@64", "its input is 32 pixels wide; leave @64 out"),
            (lambda: two("inputs"), "", "it has 2 inputs, and a backbone has one"),
            (lambda: two("outputs"), "", "it has 2 outputs, and a backbone has one"),
            (lambda: shaped((32, 40, 3)), "", r"its input is \(None, 32, 40, 3\); square pictures"),
            (lambda: shaped((32, 32, 1)), "", r"its input is \(None, 32, 32, 1\); square pictures"),
            (lambda: shaped((32, 32, 3), rank=3), "", "its output has 3 dimensions; a vector has 2"),
            (pooled, ",pooling=max", "--pooling max: m.keras gives a vector already"),
        ],
        ids=["size", "inputs", "outputs", "oblong", "grey", "rank", "pooling"],
    )
    def test_the_message_says_why(self, build: Callable[[], Any], option: str, says: str, tmp_path: Path) -> None:
        """One line, with the file's name."""
        build().save(tmp_path / "m.keras")
        with pytest.raises(UsageError, match=says):
            compile_backbone(parse_backbone(f"{tmp_path}/m.keras{option}"))

    def test_a_model_that_gives_nothing_of_use_is_refused(self, tmp_path: Path) -> None:
        """Zeros are no features."""
        convolved(kernel_initializer="zeros").save(tmp_path / "m.keras")
        with pytest.raises(BackboneError, match="zero or not finite"):
            compile_backbone(parse_backbone(f"{tmp_path}/m.keras"))


def two(what: str) -> Any:
    import keras

    first, second = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    if what == "inputs":
        return keras.Model([first, second], keras.layers.Add()([first, second]))
    return keras.Model(first, [keras.layers.ReLU()(first), keras.layers.Flatten()(first)])


def shaped(shape: tuple[int, int, int], rank: int = 4) -> Any:
    import keras

    pixels = keras.Input(shape)
    return keras.Model(pixels, keras.layers.Reshape((-1, 3))(pixels) if rank == 3 else keras.layers.ReLU()(pixels))


def rewritten(saved: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Copy a `.keras` file with another configuration."""
    path = folder / "changed.keras"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            target.writestr(name, content)
    return path


def layer(module: str | None, class_name: str, registered: str | None = None, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": registered}


HOSTILE = {
    "lambda": (layer("keras.layers", "Lambda"), "a Lambda layer, which is code"),
    "inner lambda": (layer("keras.src.layers.core.lambda_layer", "Lambda"), "a Lambda layer"),
    "lambda function": ({"class_name": "__lambda__", "config": {"value": "4wAAAA=="}}, "a Lambda layer"),
    "function": ({**layer("builtins", "function"), "config": "mine"}, "the function 'mine', which is code"),
    "class of one's own": (layer("my.package", "Layer"), r"the class 'my\.package\.Layer', which is not one of Keras'"),
    "no module": (layer(None, "Conv2D"), "the class 'Conv2D', which is not one of Keras'"),
    "registered": (layer("keras.layers", "Conv2D", "Custom>Mine"), "the class 'Custom>Mine'"),
    "standard library": (layer("os", "System"), r"os\.System"),
    "a module that only begins like Keras": (layer("keras_hub.layers", "Reader"), r"keras_hub\.layers\.Reader"),
    "a tool of Keras": (layer("keras.utils", "get_file"), r"keras\.utils\.get_file"),
    "a function among the layers": (layer("keras.layers", "deserialize"), r"keras\.layers\.deserialize"),
    "settings of Keras": (layer("keras.config", "enable_unsafe_deserialization"), r"keras\.config"),
    "a saved model": (layer("keras.layers", "TFSMLayer", filepath="/x"), "a TFSMLayer layer, which reaches outside"),
    "a file to read": (layer("keras.layers", "StringLookup", vocabulary="/etc/passwd"), "a StringLookup layer"),
    "torch": (layer("keras.layers", "TorchModuleWrapper"), "a TorchModuleWrapper layer"),
}


class TestRefused:
    """What a file brings beside layers of Keras and their weights is never run, and is named."""

    @pytest.mark.parametrize("name", HOSTILE)
    @pytest.mark.parametrize("deep", [False, True], ids=["as a layer", "deep inside"])
    def test_code_is_refused_before_keras_sees_it(
        self, name: str, deep: bool, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Wherever in the configuration it stands."""
        import keras

        monkeypatch.delattr(keras.saving, "load_model")
        hostile, says = HOSTILE[name]

        def change(config: dict[str, Any]) -> None:
            layers = config["config"]["layers"]
            if deep:
                layers[1]["config"]["offset"] = [{"anything": {"kernel": hostile}}]
            else:
                layers.insert(1, hostile)

        with pytest.raises(UsageError, match=rf"--backbone .*changed\.keras: it .*{says}"):
            open_keras(rewritten(saved, tmp_path, change))

    @pytest.mark.parametrize("member", ["evil.pkl", "assets/vocabulary.txt", "model.weights.npz", "../escape"])
    def test_a_further_member_is_refused(self, member: str, saved: Path, tmp_path: Path) -> None:
        """A model consists of a configuration, its weights and metadata; pickles least of all belong to it."""
        path = rewritten(saved, tmp_path, lambda _: None)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(member, b"content")
        with pytest.raises(UsageError, match=f"it holds '{member}', and a model consists of config.json"):
            read_checked(path)

    def test_a_member_that_comes_twice_is_refused(self, saved: Path, tmp_path: Path) -> None:
        """What was checked is what is opened."""
        path = rewritten(saved, tmp_path, lambda _: None)
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("config.json", b"{}")
        with pytest.raises(UsageError, match="a member twice"):
            read_checked(path)

    def test_a_bomb_is_refused(self, saved: Path, tmp_path: Path) -> None:
        """An archive that unpacks to far more than it is stays packed."""
        path = tmp_path / "bomb.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("config.json", b"[" * (100 << 20))
        with pytest.raises(UsageError, match="unpacked it would be more than 10 times its size"):
            read_checked(path)

    @pytest.mark.parametrize("content", [b"", b"\x80\x04}\x94.", b"PK\x03\x04 and no more", b"\x89HDF\r\n\x1a\n"])
    def test_another_file_is_refused(self, content: bytes, tmp_path: Path) -> None:
        """A pickle, an old .h5 model or an archive cut short under this name is no model."""
        path = tmp_path / "m.keras"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"m\.keras: not a model saved by Keras 3"):
            read_checked(path)

    @pytest.mark.parametrize("text", ["[]", "{", '"x"', "[" * 100_000])
    def test_a_configuration_that_is_none_is_refused(self, text: str, tmp_path: Path) -> None:
        """However the archive looks."""
        path = tmp_path / "m.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", text)
        with pytest.raises(UsageError, match="not a model saved by Keras 3"):
            read_checked(path)

    def test_a_missing_file_is_named(self) -> None:
        """Like a missing weights file."""
        with pytest.raises(UsageError, match=r"--backbone /no/such\.keras: No such file"):
            read_checked(Path("/no/such.keras"))

    def test_a_model_that_keras_cannot_open_is_one_line(self, saved: Path, tmp_path: Path) -> None:
        """With what Keras says first."""

        def change(config: dict[str, Any]) -> None:
            config["config"]["layers"][2]["config"]["filters"] = "many"

        with pytest.raises(UsageError, match=r"Keras cannot open it \(.*\); save it again"):
            open_keras(rewritten(saved, tmp_path, change))


class TestWeights:
    """The weights are in the file, or the file is refused."""

    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (lambda file, h5py: file.__setitem__("away", h5py.ExternalLink("/etc/passwd", "/")), "the link 'away'"),
            (lambda file, h5py: file.__setitem__("round", h5py.SoftLink("/layers")), "the link 'round'"),
            (
                lambda file, h5py: file.create_dataset("raw", (9,), "u1", external=[("/etc/passwd", 0, 9)]),
                "'raw', whose values are in another file",
            ),
            (
                lambda file, h5py: file.create_dataset("vast", (1 << 30,), "f4", chunks=(1 << 20,)),
                "'vast', which would unpack to 4294967296 bytes",
            ),
            (lambda file, h5py: file["layers"].__setitem__("again", file["layers"]), "cannot be read"),
        ],
        ids=["external link", "soft link", "external values", "vast", "cycle"],
    )
    def test_weights_from_elsewhere_are_refused(
        self, make: Callable[[Any, Any], Any], says: str, saved: Path, tmp_path: Path
    ) -> None:
        """Another file's bytes never become weights."""
        import h5py

        with zipfile.ZipFile(saved) as source:
            members = {name: source.read(name) for name in source.namelist()}
        weights = tmp_path / "w.h5"
        weights.write_bytes(members["model.weights.h5"])
        with h5py.File(weights, "a") as file:
            make(file, h5py)
        path = tmp_path / "m.keras"
        with zipfile.ZipFile(path, "w") as target:
            for name, content in (members | {"model.weights.h5": weights.read_bytes()}).items():
                target.writestr(name, content)
        with pytest.raises(UsageError, match=f"weights .*{says}"):
            open_keras(path)

    def test_a_file_without_weights_is_refused(self, tmp_path: Path) -> None:
        """The message names the file."""
        path = tmp_path / "m.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
        with pytest.raises(UsageError, match=r"m\.keras: its weights cannot be read"):
            open_keras(path)
