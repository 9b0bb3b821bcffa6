"""Files of weights and models may be anybody's: they are read as numbers, run no code, and reach no other file.

There is no way to say that a file is trusted after all: what brings code is always refused, and the message says so.
"""

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conf.errors import BackboneError, UsageError
from streaming.backbones import networks
from streaming.backbones.efficientnet_lite0 import MAGIC, PROTOCOL, read_pth
from streaming.backbones.featurizer import ensure
from streaming.backbones.hdf5_files import fault
from streaming.backbones.keras_files import read_checked
from streaming.backbones.request import parse_backbone
from streaming.backbones.tensorflow_runtime import _open
from streaming.backbones.tflite_files import adopt
from tests.security.models import DEADLY, TINY, bundle, hdf5, keras_file


def text(letters: str) -> bytes:
    """Give a text as a pickle holds it."""
    return b"X" + struct.pack("<I", len(letters)) + letters.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(4) + b"NtQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + number(0) + b"(" + number(4) + b"t(" + number(1) + b"ttR"


def pth(folder: Path, state: bytes, keys: bytes = b"", storage: bytes = b"") -> Path:
    """Write a file of torch's old format around a pickled state, by default with one storage of four floats."""
    header = b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, {"little_endian": True}))
    path = folder / "weights.pth"
    values = storage or struct.pack("<q4f", 4, 1, 2, 3, 4)
    path.write_bytes(header + b"\x80\x02" + state + b"." + (keys or pickle.dumps(["0"], 2)) + values)
    return path


def state(tensor: bytes) -> bytes:
    """Give a state of one tensor."""
    return b"}" + text("w") + tensor + b"s"


def built(**changes: bytes) -> bytes:
    """Give a tensor that is changed once it was made, as a pickle may change any object."""
    return TENSOR + b"}" + b"".join(text(name) + value + b"s" for name, value in changes.items()) + b"b"


def runs(module: str, name: str, argument: bytes) -> bytes:
    return f"c{module}\n{name}\n(".encode() + argument + b"tR"


class TestPth:
    """A .pth file is a pickle, of which only tensors are read."""

    def test_tensors_are_read(self, tmp_path: Path) -> None:
        """The files of these tests are good but for what is bad in each."""
        assert read_pth(pth(tmp_path, state(TENSOR)))["w"].tolist() == [1, 2, 3, 4]

    @pytest.mark.parametrize(
        "code",
        [
            runs("posix", "system", text("touch canary")),
            runs("os", "system", text("touch canary")),
            runs("builtins", "exec", text("open('canary', 'w')")),
            runs("builtins", "getattr", text("x") + text("y")),
            runs("subprocess", "Popen", text("touch canary")),
            runs("torch.jit", "load", text("x")),
            runs("collections", "Counter", b""),
            runs("torch", "FloatStorage.__class__", b""),
            b"\x82\x01",  # an object of copyreg's registry
            b"iposix\nsystem\n" + text("touch canary"),
            b"(" + text("touch canary") + b"iposix\nsystem\n",
        ],
        ids=range(11),
    )
    @pytest.mark.parametrize("place", ["state", "storage", "key"])
    def test_code_is_not_run(self, code: bytes, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever it calls, wherever it stands, and by whatever instruction."""
        monkeypatch.chdir(tmp_path)
        whole = {
            "state": code,
            "storage": state(TENSOR.replace(text("storage"), code)),
            "key": state(TENSOR.replace(text("0"), code)),
        }[place]
        with pytest.raises(BackboneError, match=r"weights\.pth.*"):
            read_pth(pth(tmp_path, whole))
        assert not (tmp_path / "canary").exists()

    @pytest.mark.parametrize(
        "changes",
        [
            {"shape": b"(" + number(50_000_000) + b"t"},
            {"offset": number(5_000_000)},
            {"offset": number(-1)},
            {"strides": b"(" + number(1 << 30) + b"t"},
            {"strides": b"(" + number(-1) + b"t"},
            {"strides": b"(t"},
            {"shape": b"(" + text("many") + b"t"},
            {"shape": b"(" + number(2) + b"t", "strides": b"(\x8a\x09\0\0\0\0\0\0\0\0\1t"},
            {"storage": b"N"},
        ],
        ids=str,
    )
    def test_no_memory_but_the_files_is_read(self, changes: dict[str, bytes], tmp_path: Path) -> None:
        """Also where a tensor is changed after it was made."""
        with pytest.raises(BackboneError, match=r"weights\.pth"):
            read_pth(pth(tmp_path, state(built(**changes))))

    @pytest.mark.parametrize("kind", ["O", "V4", ">f4", "S100000000"])
    def test_values_are_floats_or_longs(self, kind: str, tmp_path: Path) -> None:
        """Objects least of all."""
        other = TENSOR.replace(b"ctorch\nFloatStorage\n", text(kind))
        with pytest.raises(BackboneError, match=r"weights\.pth"):
            read_pth(pth(tmp_path, state(other)))

    @pytest.mark.parametrize(
        "state",
        [b"Nr" + struct.pack("<I", 30_000_000), b"Np30000000\n", b"N" * 300 + b"q\xff"],
        ids=["long", "text", "short"],
    )
    def test_memory_is_not_asked_for_out_of_turn(self, state: bytes, tmp_path: Path) -> None:
        """Ten bytes could ask for gigabytes: a pickle numbers what it remembers, and room is made up to the number."""
        with pytest.raises(BackboneError, match="out of turn"):
            read_pth(pth(tmp_path, state))

    def test_a_storage_is_not_larger_than_its_file(self, tmp_path: Path) -> None:
        """Whatever it says of itself."""
        vast = TENSOR.replace(number(4) + b"NtQ", b"\x8a\x07\0\0\0\0\0\0\1NtQ")
        with pytest.raises(BackboneError, match=r"weights\.pth"):
            read_pth(pth(tmp_path, state(vast), storage=struct.pack("<q4f", 1 << 48, 1, 2, 3, 4)))


LAMBDA = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "x"}, "registered_name": None}


class TestKeras:
    """Beside what `tests/unit/test_keras_files.py` refuses."""

    def test_a_model_for_the_workers_is_held_against_the_same_rules(self, tmp_path: Path) -> None:
        """A file in the lake, or one that was brought along, may be another than Verger made."""
        path = keras_file(tmp_path / "x.keras", LAMBDA)
        with pytest.raises(BackboneError, match=r"Keras cannot load it \(it holds a Lambda layer, which is code"):
            _open(path)

    def test_one_that_was_brought_along_is_refused_before_it_is_kept(self, tmp_path: Path) -> None:
        """Nothing of it comes into the lake."""
        content = keras_file(tmp_path / "x.keras", LAMBDA).read_bytes()
        request = parse_backbone(str(bundle(tmp_path, keras=content)))
        with pytest.raises(UsageError, match="a Lambda layer, which is code"):
            ensure(request, tmp_path / "lake", lambda _: None)
        assert not (tmp_path / "lake").exists()

    def test_an_archive_that_needs_a_password_is_one_line(self, tmp_path: Path) -> None:
        """As any damaged one."""
        path = keras_file(tmp_path / "x.keras", {})
        content = bytearray(path.read_bytes())
        for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(mark) + flags] |= 1
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"not a model saved by Keras 3 .*encrypted"):
            read_checked(path)

    @pytest.mark.parametrize("name", ["../escape", "/tmp/escape", "..\\escape", "assets/x", "config.json/../../x"])
    def test_no_member_leaves_the_archive(self, name: str, tmp_path: Path) -> None:
        """There are three, by name."""
        with pytest.raises(UsageError, match=r"a model consists of config\.json"):
            read_checked(keras_file(tmp_path / "x.keras", {}, **{name: b"x"}))


HOSTILE_WEIGHTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "external link": (lambda file: file.__setitem__("x", _h5py().ExternalLink("/etc/passwd", "/")), "the link 'x'"),
    "soft link": (lambda file: file.__setitem__("x", _h5py().SoftLink("/layers")), "the link 'x'"),
    "external values": (
        lambda file: file["layers"].create_dataset("x", (9,), "u1", external=[("/etc/passwd", 0, 9)]),
        "'x', whose values are in another file",
    ),
    "virtual values": (lambda file: _virtual(file), "'x', whose values are in another file"),
    "bomb": (
        lambda file: file.create_dataset("x", (1 << 40,), "u1", chunks=(1 << 20,), compression="gzip"),
        "'x', which would unpack to 1099511627776 bytes",
    ),
}


def _h5py() -> Any:
    import h5py

    return h5py


def _virtual(file: Any) -> None:
    layout = _h5py().VirtualLayout((4,), "f4")
    layout[:] = _h5py().VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("x", layout)


class TestWeights:
    """Files of HDF5, in a `.keras` file or by themselves."""

    @pytest.mark.parametrize(("change", "says"), HOSTILE_WEIGHTS.values(), ids=list(HOSTILE_WEIGHTS))
    @pytest.mark.parametrize("name", ["w.h5", "w.weights.h5"])
    def test_weights_of_a_known_network_reach_no_other_file(
        self, change: Callable[[Any], object], says: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are refused before Keras sees them."""
        monkeypatch.setattr(networks, "untrained", None)
        path = tmp_path / name
        path.write_bytes(hdf5(change))
        backbone = parse_backbone("mobilenet-v2-0.35@32", str(path)).with_weights("0" * 64)
        with pytest.raises(BackboneError, match=rf"--weights .*{name}: the file holds {says}"):
            networks.trained(backbone, path)

    def test_ordinary_weights_are_not_refused(self) -> None:
        """The files of these tests are good but for what is bad in each."""
        content = hdf5(lambda file: None)
        assert fault(io.BytesIO(content), len(content)) == ""


class TestTflite:
    """A `.tflite` file is run in a process of its own before any worker does."""

    def test_a_model_that_takes_its_process_down_is_one_line(self, tmp_path: Path) -> None:
        """A driver goes on, and keeps nothing of it."""
        path = tmp_path / "deadly.tflite"
        path.write_bytes(DEADLY)
        with pytest.raises(UsageError, match=r"deadly\.tflite: LiteRT cannot run it .*terminated abruptly") as raised:
            adopt(parse_backbone(str(path)))
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("content", [DEADLY, b"no model"], ids=["deadly", "none"])
    def test_one_that_was_brought_along_is_tried_before_it_is_kept(self, content: bytes, tmp_path: Path) -> None:
        """Its manifest may praise it: whoever made the one made the other."""
        with pytest.raises(BackboneError) as raised:
            ensure(parse_backbone(str(bundle(tmp_path, content))), tmp_path / "lake", lambda _: None)
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "lake").exists()

    def test_a_good_one_is_kept(self, tmp_path: Path) -> None:
        """The files of these tests are good but for what is bad in each."""
        kept = ensure(parse_backbone(str(bundle(tmp_path))), tmp_path / "lake", lambda _: None)
        assert Path(str(kept.model)).read_bytes() == TINY
