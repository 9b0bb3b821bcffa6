"""Networks of keras.applications with weights of every origin; each is compiled small and held against Keras itself."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streaming.backbones.backbone import Backbone
from streaming.backbones.compile import compile_backbone
from streaming.backbones.networks import trained, untrained
from streaming.backbones.probes import probe_pictures, worst_error
from streaming.backbones.random_weights import preprocessed, randomise
from streaming.backbones.request import parse_backbone
from streaming.backbones.runtime import Runtime
from streaming.backbones.shelf import save
from tests.places import local

Floats = NDArray[np.float32]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of saving in Keras


def declared(spec: str) -> Backbone:
    return parse_backbone(spec).with_weights("0" * 64)


def randomised(spec: str) -> tuple[Any, Backbone]:
    """Build a network with random weights, as the compilation does."""
    backbone = declared(spec)
    network = untrained(backbone)
    randomise(network, backbone, 1)
    return network, backbone


class TestAgainstKeras:
    """The compiled backbone gives what Keras gives for its own `preprocess_input`, network and pooling."""

    @pytest.mark.parametrize(
        ("spec", "module", "width"),
        [
            ("vgg16@64,pooling=flatten", "vgg16", 2 * 2 * 512),
            pytest.param("mobilenet-v3-small@32,pooling=max", "mobilenet_v3", 576, marks=pytest.mark.long),
        ],
    )
    def test_vectors_are_keras_own(self, spec: str, module: str, width: int, tmp_path: Path) -> None:
        """Caffe's BGR flattened; scaling inside the network, and the greatest of each channel."""
        import keras

        request = parse_backbone(spec, "random:1")
        compiled = compile_backbone(request)
        network, backbone = randomised(spec)
        probes = probe_pictures(backbone.preparation.size)
        preprocess_input: Callable[[Floats], Floats] = getattr(keras.applications, module).preprocess_input
        expected = np.asarray(network(preprocess_input(probes.astype(np.float32)))).reshape(len(probes), -1)
        runtime = Runtime(local(save(compiled, tmp_path)), compiled.backbone, compiled.manifest.width)
        assert worst_error(np.stack(runtime.vectors(list(probes))), expected) < 1e-4
        assert compiled.manifest.width == width == expected.shape[1]

    def test_convnext_normalises_after_pooling(self) -> None:
        """Where Keras' own pooling is not the last layer, it is still Keras' pooling that is compiled."""
        import keras

        network, _ = randomised("convnext-tiny@32")
        own = keras.applications.ConvNeXtTiny(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
        own.set_weights(network.get_weights())
        probes = probe_pictures(32).astype(np.float32)
        np.testing.assert_allclose(network(probes), own(probes), atol=1e-5)


class TestRandom:
    """A seed gives every network vectors that can be used."""

    @pytest.mark.parametrize("spec", ["vgg16@32", "efficientnet-b0@32", "convnext-tiny@32", "xception@71"])
    def test_vectors_are_of_ordinary_size_and_tell_pictures_apart(self, spec: str) -> None:
        """With batch normalisation or without, with dropout, with layer normalisation: neither 0 nor infinite."""
        network, backbone = randomised(spec)
        vectors = np.asarray(network(preprocessed(probe_pictures(backbone.preparation.size), backbone)))
        vectors = vectors.reshape(len(vectors), -1)
        norms = np.linalg.norm(vectors, axis=1)
        assert 0.1 < norms.min() < norms.max() < 1e5
        assert (vectors @ vectors.T / np.outer(norms, norms))[np.triu_indices(8, 1)].max() < 0.999

    def test_a_seed_gives_the_same_weights_again(self) -> None:
        """Nothing of Keras' own initial values, nor of its dropout, is left in them."""
        first, second = (randomised("efficientnet-b0@32")[0].get_weights() for _ in range(2))
        assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


class TestEfficientNet:
    """Keras builds EfficientNet differently around its own ImageNet file; the file's bytes decide here."""

    def test_only_keras_own_file_brings_the_further_scaling(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The published file means the network of `weights="imagenet"`, however it came; any other a plain one."""
        from keras.src.applications import efficientnet

        path, spec = tmp_path / "b0.weights.h5", "efficientnet-b0@32"
        randomised(spec)[0].save_weights(path)
        plain = trained(declared(spec), path)
        hashes = {"b0": ("", hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest())}
        monkeypatch.setattr(efficientnet, "WEIGHTS_HASHES", hashes)
        scaled = trained(declared(spec), path)
        kinds = [[type(layer).__name__ for layer in each.layers].count("Rescaling") for each in (plain, scaled)]
        assert kinds == [1, 2]
        assert all(np.array_equal(*pair) for pair in zip(plain.get_weights(), scaled.get_weights(), strict=True))
