import dataclasses
import hashlib
import json
import os
from pathlib import Path

import pytest

from conf.errors import BackboneError
from streaming.backbones.shelf import Compiled, Manifest, beside, find, load, manifest_path, model_path, save
from tests.places import local


class TestShelf:
    """The lake keeps compiled backbones whole or not at all."""

    def test_what_was_saved_is_loaded(self, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """The manifest reads back whole, and the folder holds two files and no leftovers."""
        featurizer = random_mobilenet.backbone.featurizer
        model = save(random_mobilenet, tmp_path / "backbones")
        assert load(model.parent, featurizer) == random_mobilenet.manifest
        assert model.read_bytes() == random_mobilenet.tflite
        assert sorted(path.name for path in model.parent.iterdir()) == [f"{featurizer}.json", f"{featurizer}.tflite"]

    def test_what_was_never_compiled_is_none(self, tmp_path: Path) -> None:
        """A folder that is not there yet holds no featurizer."""
        assert load(tmp_path / "backbones", "mobilenet-v2-224-avg-00000000") is None

    @pytest.mark.parametrize("writes", [0, 1])
    def test_a_crash_while_saving_leaves_nothing_that_counts(
        self, writes: int, random_mobilenet: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Interrupted at either file, even over an older copy, the backbone counts as not compiled."""
        save(random_mobilenet, tmp_path)
        left = [None] * writes

        def fsync(_descriptor: int) -> None:
            if not left:
                raise OSError("the machine stops here")
            left.pop()

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="stops here"):
            save(random_mobilenet, tmp_path)
        assert load(tmp_path, random_mobilenet.backbone.featurizer) is None

    @pytest.mark.parametrize("damage", ["shorter", "other", "missing"])
    def test_a_damaged_model_is_refused(self, damage: str, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """A model that is not the manifest's is never run; the message says what to delete."""
        model, content = save(random_mobilenet, tmp_path), random_mobilenet.tflite
        model.write_bytes({"shorter": content[:-1], "other": content[:-1] + b"?", "missing": b""}[damage])
        if damage == "missing":
            model.unlink()
        with pytest.raises(BackboneError, match=r"damaged; delete .*\.\* and start again"):
            load(tmp_path, random_mobilenet.backbone.featurizer)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"backbone": {}}'])
    def test_a_damaged_manifest_is_refused(self, text: str, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """A manifest that is none is named."""
        featurizer = random_mobilenet.backbone.featurizer
        save(random_mobilenet, tmp_path)
        local(manifest_path(tmp_path, featurizer)).write_text(text)
        with pytest.raises(BackboneError, match=rf"{featurizer}\.json"):
            load(tmp_path, featurizer)

    def test_a_manifest_under_another_name_is_refused(self, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """A copied file does not make one featurizer pass for another."""
        save(random_mobilenet, tmp_path)
        for place in (manifest_path, model_path):
            local(place(tmp_path, random_mobilenet.backbone.featurizer)).rename(local(place(tmp_path, "other")))
        with pytest.raises(BackboneError, match=r"other\.json is damaged"):
            load(tmp_path, "other")

    def test_fields_of_a_newer_version_are_passed_over(self, random_mobilenet: Compiled) -> None:
        """A manifest with more in it than this version knows still loads."""
        text = random_mobilenet.manifest.to_json().replace("{", '{"colour": 1,', 1)
        assert Manifest.from_json(text) == random_mobilenet.manifest

    def test_fields_that_an_older_version_lacked_are_empty(self, random_mobilenet: Compiled) -> None:
        """The lakes of the first version are read as they are."""
        fields = json.loads(random_mobilenet.manifest.to_json())
        for later in ("weights", "task_bytes", "keras_sha256"):
            del fields[later]
        manifest = Manifest.from_json(json.dumps(fields))
        assert (manifest.weights, manifest.task_bytes, manifest.keras_sha256) == ("", {}, "")
        assert manifest.width == 1280

    def test_a_manifest_does_not_change(self, random_mobilenet: Compiled) -> None:
        """Values are frozen."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            random_mobilenet.manifest.probe_error = 0.0  # type: ignore[misc]


class TestFinding:
    """A compiled backbone is found by what is known of it."""

    def test_the_newest_that_fits_is_found(self, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """What does not fit is passed over, and so is what cannot be read."""
        (tmp_path / "broken.json").write_text("{")
        times = {"a": "2025-01-01T00:00:00+00:00", "b": "2026-01-01T00:00:00+00:00", "c": "2027-01-01T00:00:00+00:00"}
        for name, created_at in times.items():
            backbone = dataclasses.replace(random_mobilenet.backbone, weights_sha256=name)
            manifest = dataclasses.replace(random_mobilenet.manifest, backbone=backbone, created_at=created_at)
            save(dataclasses.replace(random_mobilenet, manifest=manifest), tmp_path)
        found = find(tmp_path, lambda each: each.backbone.weights_sha256 != "c")
        assert found is not None
        assert found.backbone.weights_sha256 == "b"
        assert find(tmp_path, lambda each: False) is None
        assert find(tmp_path / "none", lambda each: True) is None


class TestBothRuntimes:
    """Where TensorFlow is to run a backbone, its model lies beside LiteRT's."""

    @pytest.fixture
    def both(self, random_mobilenet: Compiled) -> Compiled:
        sha256 = hashlib.sha256(b"a model").hexdigest()
        manifest = dataclasses.replace(random_mobilenet.manifest, keras_sha256=sha256)
        return Compiled(random_mobilenet.tflite, manifest, b"a model")

    def test_what_was_saved_is_loaded(self, both: Compiled, tmp_path: Path) -> None:
        """Both models under one id."""
        save(both, tmp_path)
        assert load(tmp_path, both.backbone.featurizer, "tensorflow") == both.manifest
        assert model_path(tmp_path, both.backbone.featurizer, "tensorflow").read_bytes() == b"a model"

    def test_one_for_litert_alone_counts_as_not_compiled(self, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """TensorFlow has nothing to run there."""
        save(random_mobilenet, tmp_path)
        assert load(tmp_path, random_mobilenet.backbone.featurizer, "tensorflow") is None

    def test_a_damaged_one_is_refused(self, both: Compiled, tmp_path: Path) -> None:
        """LiteRT is none the worse for it."""
        save(both, tmp_path)
        featurizer = both.backbone.featurizer
        model_path(tmp_path, featurizer, "tensorflow").write_bytes(b"another")
        with pytest.raises(BackboneError, match="damaged"):
            load(tmp_path, featurizer, "tensorflow")
        assert load(tmp_path, featurizer) is not None


class TestBroughtAlong:
    """A `.tflite` with its manifest beside it is a compiled backbone, under any name."""

    def test_it_is_read_whole(self, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """Both files may have been renamed."""
        model = local(save(random_mobilenet, tmp_path))
        renamed = model.rename(tmp_path / "mine.tflite")
        assert beside(renamed) is None
        model.with_suffix(".json").rename(tmp_path / "mine.json")
        assert beside(renamed) == random_mobilenet

    def test_tensorflows_model_may_stay_behind(self, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """Then it is compiled for LiteRT alone."""
        manifest = dataclasses.replace(random_mobilenet.manifest, keras_sha256="0" * 64)
        model = save(dataclasses.replace(random_mobilenet, manifest=manifest), tmp_path)
        assert beside(model) == random_mobilenet

    @pytest.mark.parametrize("text", ["{", "[]", '{"0": "apple"}'])
    def test_another_file_of_that_name_is_no_manifest(self, text: str, tmp_path: Path) -> None:
        """A list of labels beside one's own model means nothing here."""
        (tmp_path / "mine.json").write_text(text)
        assert beside(tmp_path / "mine.tflite") is None

    def test_a_model_that_is_not_the_manifests_is_refused(self, random_mobilenet: Compiled, tmp_path: Path) -> None:
        """It was damaged on its way, or is another."""
        model = save(random_mobilenet, tmp_path)
        model.write_bytes(b"another")
        with pytest.raises(BackboneError, match="damaged"):
            beside(model)
