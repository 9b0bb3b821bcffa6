import hashlib
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from conf.errors import BackboneError
from streaming.backbones import compile as compiling
from streaming.backbones.compile import compile_backbone
from streaming.backbones.probes import probe_pictures, worst_error
from streaming.backbones.request import parse_backbone
from streaming.backbones.runtime import Runtime
from streaming.backbones.shelf import Compiled, save
from streaming.backbones.weights import resolve
from tests.places import local

ROOT = Path(__file__).parents[2]
REAL_WEIGHTS = ROOT.parent / "shared" / "data" / "weights" / "mobilenet_v2_0.35_224_no_top.weights.h5"


class TestCompiling:
    """Only a model that agrees with Keras is given."""

    def test_the_manifest_tells_what_was_compiled(self, embedded: Compiled) -> None:
        """Declaration, size, hash, probe error, speed, versions and time stand in the manifest."""
        manifest = embedded.manifest
        assert manifest.backbone == resolve(parse_backbone("efficientnet-lite0@64"))[0]
        assert manifest.tflite_sha256 == hashlib.sha256(embedded.tflite).hexdigest()
        assert manifest.tflite_bytes == len(embedded.tflite) > 13_000_000
        assert 0 < manifest.probe_error < 1e-5
        assert 0 < manifest.seconds_per_picture < 1
        assert (manifest.width, manifest.weights) == (1280, "embedded")
        assert 1e6 < manifest.task_bytes["litert"] < 1e9
        assert set(manifest.versions) == {"tensorflow", "keras", "litert"}
        assert datetime.fromisoformat(manifest.created_at).utcoffset() == timedelta(0)

    def test_random_weights_are_calibrated(self, random_mobilenet: Compiled, random_model: Path) -> None:
        """A random network gives vectors of ordinary size that tell pictures apart."""
        runtime = Runtime(random_model, random_mobilenet.backbone, random_mobilenet.manifest.width)
        vectors = np.stack([runtime(probe) for probe in probe_pictures(32)])
        norms = np.linalg.norm(vectors, axis=1)
        assert norms.min() > 1
        assert (vectors @ vectors.T / np.outer(norms, norms))[np.triu_indices(8, 1)].max() < 0.99

    def test_a_conversion_that_changes_the_numbers_is_refused(
        self, random_mobilenet: Compiled, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A model of the right signature with other weights does not pass the probe."""
        monkeypatch.setattr(compiling, "_convert", lambda _model: random_mobilenet.tflite)
        with pytest.raises(BackboneError, match="compiled backbone differs from Keras"):
            compile_backbone(parse_backbone("mobilenet-v2-0.35@32", "random:2"))

    @pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
    def test_unusable_vectors_are_refused(self, value: float) -> None:
        """One zero or non-finite vector is enough to refuse a backbone."""
        vectors = np.ones((3, 4), np.float32)
        vectors[1] = value
        with pytest.raises(BackboneError, match="zero or not finite"):
            worst_error(vectors, vectors)

    def test_one_vector_for_all_pictures_is_refused(self) -> None:
        """A network that does not look at the picture is no backbone."""
        vectors = np.ones((3, 4), np.float32)
        with pytest.raises(BackboneError, match="one vector to different pictures"):
            worst_error(vectors, vectors)

    def test_the_worst_probe_counts(self) -> None:
        """The error is the greatest over the probes, relative to the reference's length."""
        reference = np.array([[3, 4], [0, 2]], np.float32)
        error = worst_error(reference + np.array([[0, 0], [1e-4, 0]], np.float32), reference)
        assert error == pytest.approx(5e-5, rel=1e-3)

    @pytest.mark.parametrize("name", ["mobilenet-v2 weights.h5", "efficientnet-lite0 weights.pth"])
    def test_a_file_that_is_no_weights_is_refused(self, name: str, tmp_path: Path) -> None:
        """The message names the file."""
        architecture, file = name.split()
        (tmp_path / file).write_bytes(b"not weights")
        with pytest.raises(BackboneError, match=file):
            compile_backbone(parse_backbone(f"{architecture}@32", str(tmp_path / file)))

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras, while saving
    def test_a_file_that_leaves_a_layer_out_is_refused(self, tmp_path: Path) -> None:
        """No layer keeps initial values that nobody trained."""
        import h5py
        import keras

        path = tmp_path / "partial.weights.h5"
        keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None).save_weights(path)
        with h5py.File(path, "a") as file:
            del file["layers/conv2d_9"]
        with pytest.raises(BackboneError, match="--weights"):
            compile_backbone(parse_backbone("mobilenet-v2-0.35@32", str(path)))

    def test_a_layer_that_keras_only_warns_of_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where Keras passes over what a file lacks, the compiler does not."""
        import h5py
        import keras

        path = tmp_path / "lenient.h5"
        h5py.File(path, "w").close()
        monkeypatch.setattr(keras.Model, "load_weights", lambda _network, _path: None)
        with pytest.raises(BackboneError, match=r"lenient\.h5.*leaves out Conv1/kernel"):
            compile_backbone(parse_backbone("mobilenet-v2-0.35@32", str(path)))

    def test_without_tensorflow_the_message_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine without the extra is told to install it or to take a backbone compiled elsewhere."""
        monkeypatch.setitem(sys.modules, "tensorflow", None)
        with pytest.raises(BackboneError, match=r"pip install 'verger\[compile\]'.*compiled elsewhere"):
            compile_backbone(parse_backbone("mobilenet-v2@32", "random:1"))


@pytest.mark.long
@pytest.mark.skipif(not REAL_WEIGHTS.is_file(), reason="the real weights are not on this machine")
class TestRealWeights:
    """ImageNet weights in Keras' own file format."""

    def test_keras_own_preprocessing_gives_the_same_vectors(self, tmp_path: Path) -> None:
        """Scaling inside the graph equals `mobilenet_v2.preprocess_input` outside it."""
        import keras

        compiled = compile_backbone(parse_backbone("mobilenet-v2-0.35@96", str(REAL_WEIGHTS)))
        network = keras.applications.MobileNetV2(
            (96, 96, 3), alpha=0.35, include_top=False, pooling="avg", weights=str(REAL_WEIGHTS)
        )
        probes = probe_pictures(96)
        expected = np.asarray(network(keras.applications.mobilenet_v2.preprocess_input(probes.astype(np.float32))))
        runtime = Runtime(local(save(compiled, tmp_path)), compiled.backbone, compiled.manifest.width)
        assert worst_error(np.stack([runtime(probe) for probe in probes]), expected) < 1e-4

    def test_weights_of_another_width_are_refused(self) -> None:
        """Weights of alpha 0.35 do not fit the full-width network."""
        with pytest.raises(BackboneError, match="does not fit mobilenet-v2"):
            compile_backbone(parse_backbone("mobilenet-v2@32", str(REAL_WEIGHTS)))
