"""Backbones compared on a sample of pictures."""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch.algebra.separation import components_for, purity
from bootstrap.comparison import Compared, compare, show
from conf.errors import LakeError, LandingError, UsageError
from conf.lake import LakePaths
from conf.settings import Settings
from streaming.backbones.runtime import Runtime
from streaming.backbones.shelf import Compiled, model_path, save
from streaming.decode import decode
from tests.conftest import TINY
from tests.places import local

RANDOM = "mobilenet-v2-0.35@32,weights=random:1"
BOTH = (TINY, RANDOM)


@pytest.fixture
def settings(landing: Path, lake: LakePaths, random_mobilenet: Compiled) -> Settings:
    """Have two dozen pictures, and a lake in which both backbones are compiled."""
    save(random_mobilenet, lake.backbones)
    return Settings(landing=str(landing), lake=str(lake.root), settle=0, cores=2)


def directly(landing: Path, lake: LakePaths, each: Compared, compiled: Compiled) -> tuple[float, int]:
    """Return purity and components of a whole landing, one picture after the other."""
    model = local(model_path(lake.backbones, each.featurizer))
    runtime = Runtime(model, compiled.backbone, each.width)
    files = sorted(landing.rglob("*.*"))
    pixels = [decode(file.read_bytes(), compiled.backbone.preparation, 10**8).pixels for file in files]
    vectors = np.stack(runtime.vectors(pixels))
    found = purity(vectors, [file.parent.name for file in files])
    assert found is not None
    return found[0], components_for(vectors)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give temporary files a folder of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


def test_each_is_measured_on_the_same_pictures(
    settings: Settings,
    landing: Path,
    lake: LakePaths,
    embedded: Compiled,
    random_mobilenet: Compiled,
    temporary: Path,
) -> None:
    """Vectors are those of a stream; speed, size and price are there; the sample is said to be read and run."""
    said: list[tuple[str, float, float]] = []
    found = compare(settings, BOTH, price=0.1, say=lambda text, done=0, total=0: said.append((text, done, total)))
    for each, compiled, spec in zip(found, (embedded, random_mobilenet), BOTH, strict=True):
        manifest = compiled.manifest
        assert (each.backbone, each.featurizer) == (spec, compiled.backbone.featurizer)
        assert (each.width, each.tflite_bytes) == (manifest.width, manifest.tflite_bytes)
        assert (each.pictures, each.rejections, each.cores) == (24, {}, 2)
        pure, k = directly(landing, lake, each, compiled)
        assert each.purity == pytest.approx(pure)
        assert each.k == k
        assert each.core_rate > 0
        assert 0 < each.cores_had <= 1
        assert each.dollars_per_million == pytest.approx(0.1 * 2 * 1e6 / each.rate / 3600)
        assert each.chance is not None
        assert 0 < each.chance < 1
    texts = list(dict.fromkeys(text for text, _, _ in said))
    assert texts == ["listing the landing", "decoding the sample", *(f"running {each.featurizer}" for each in found)]
    assert {total for text, _, total in said if text == "decoding the sample"} == {24}
    assert list(temporary.iterdir()) == []


def test_nothing_is_printed(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """Not by libraries either; and what is printed afterwards is seen."""
    compare(settings, [RANDOM], 4)
    os.write(2, b"seen")
    assert capfd.readouterr() == ("", "seen")


def test_what_cannot_be_decoded_is_left_out_and_counted(settings: Settings, landing: Path) -> None:
    """The others are compared as if it were not there."""
    (clean,) = compare(settings, [RANDOM])
    folder = next(each for each in landing.iterdir() if each.is_dir())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / "empty.png").write_bytes(b"")
    (found,) = compare(settings, [RANDOM])
    assert sum(found.rejections.values()) == 2
    assert found.rejections["empty"] == 1
    assert (found.pictures, found.purity, found.k) == (24, clean.purity, clean.k)


def test_without_labels_there_is_no_purity(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """It is shown as a dash, and as null in JSON."""
    found = compare(replace(settings, label="none"), [RANDOM], 5)
    assert (found[0].purity, found[0].chance, found[0].labels, found[0].pictures) == (None, None, 0, 5)
    show(found, 0.05, as_json=False)
    assert "\N{EN DASH}" in capsys.readouterr().out
    show(found, 0.05, as_json=True)
    assert json.loads(capsys.readouterr().out)["purity"] is None


def test_without_a_lake_nothing_is_kept(
    settings: Settings, random_mobilenet: Compiled, tmp_path: Path, temporary: Path
) -> None:
    """A compiled backbone from elsewhere is taken to a folder that goes afterwards."""
    brought = save(random_mobilenet, tmp_path / "elsewhere")
    (found,) = compare(replace(settings, lake=""), [str(brought)], 8)
    assert (found.featurizer, found.pictures) == (random_mobilenet.backbone.featurizer, 8)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("backbones", "other", "error", "why"),
    [
        ([RANDOM], {"size": 1}, UsageError, "--sample 1: take from 2 to 5,000"),
        ([RANDOM], {"price": 0}, UsageError, "--price 0: say what a core costs"),
        ([RANDOM], {"price": float("nan")}, UsageError, "--price nan"),
        ([RANDOM], {"price": float("inf")}, UsageError, "--price inf"),
        (["resnet51"], {}, UsageError, "--backbone resnet51: unknown name"),
        ([RANDOM, RANDOM], {}, UsageError, "is asked for twice"),
        ([RANDOM], {"landing": "empty"}, LandingError, "holds no pictures to compare with$"),
        ([RANDOM], {"landing": "young"}, LandingError, "1 may still be growing: wait --settle 1e.06 seconds"),
        ([RANDOM], {"landing": "broken"}, LandingError, "no picture of the sample can be decoded: not_a_picture 1"),
        ([RANDOM], {"landing": "absent"}, LandingError, "absent does not exist"),
        ([RANDOM], {"lake": "absent"}, LakeError, "no lake at"),
        ([], {}, UsageError, "name at least one"),
    ],
)
def test_what_cannot_be_compared(
    settings: Settings, tmp_path: Path, backbones: list[str], other: dict[str, Any], error: type[Exception], why: str
) -> None:
    """One line says why, before anything takes long."""
    for name in ("empty", "young", "broken"):
        (tmp_path / name).mkdir()
    for name in ("young", "broken"):
        (tmp_path / name / "x.jpg").write_bytes(b"no picture")
    arguments = {name: other[name] for name in ("size", "price") if name in other}
    places: dict[str, Any] = {name: str(tmp_path / other[name]) for name in ("landing", "lake") if name in other}
    settle = 1e6 if other.get("landing") == "young" else 0
    with pytest.raises(error, match=why) as raised:
        compare(replace(settings, settle=settle, **places), backbones, **arguments)
    assert "\n" not in str(raised.value)


def test_a_table_and_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each backbone, and what the numbers are of."""
    monkeypatch.setenv("COLUMNS", "160")
    one = Compared(
        "a@64", "a-64-avg-1", 1280, 13_400_000, 398, 12, {"gone": 2}, 61.24, 118.6, 2, 0.97, 0.9312, 0.0801, 77, 0.23
    )
    two = replace(one, backbone="b[x]", purity=None, chance=None, rejections={})
    show([one, two], 0.05, as_json=False)
    head, first, second, *notes = capsys.readouterr().out.splitlines()
    assert "img/s, 2 cores" in head
    assert first.split() == ["a@64", "61.2", "118.6", "1,280", "13.4", "MB", "0.931", "77", "0.23"]
    assert second.split()[0] == "b[x]"
    assert "398 pictures of 12 labels; left out: gone 2. By chance the purity would be 0.080." in notes[0]
    assert "estimated" in notes[1]
    assert "0.05 a core and hour" in notes[1]
    assert len(notes) == 2
    show([one, replace(two, cores_had=0.6)], 0.05, as_json=False)
    assert "Other programs had up to 40% of the cores' time" in capsys.readouterr().out
    show([one, two], 0.05, as_json=True)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["backbone"], row["rejections"]) for row in rows] == [("a@64", {"gone": 2}), ("b[x]", {})]
