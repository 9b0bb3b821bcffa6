"""The charts as pictures for slides."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from matplotlib.figure import Figure

from batch.report import charts as charts_module
from batch.report.charts import charts
from batch.report.findings import POINTS, Sample
from tests.report.portrait import bare, hostile, portrait


def test_each_chart_is_a_slide_with_something_on_it(tmp_path: Path) -> None:
    """Five pictures of 1920 x 1080, none of them blank, their ground white."""
    paths = charts(portrait(200, drawn=12), tmp_path / "new" / "charts")
    assert [path.name for path in paths] == ["space.png", "scree.png", "labels.png", "freshness.png", "drift.png"]
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert pixels.shape == (1080, 1920, 3)
        assert (pixels[2, 2] == 255).all()
        assert 0.005 < (pixels < 200).any(axis=2).mean() < 0.5


@pytest.mark.parametrize("n", [0, 1])
def test_what_was_not_found_makes_no_chart(tmp_path: Path, n: int) -> None:
    """One picture on one component has a place and a share; no picture has nothing."""
    names = [path.name for path in charts(bare(n), tmp_path)]
    assert names == ["space.png", "scree.png"][: 2 * n]


def test_a_chart_of_an_earlier_report_does_not_stay(tmp_path: Path) -> None:
    """One that has nothing to show this time is deleted; other files of the folder are left alone."""
    for name in ("drift.png", "mine.png"):
        (tmp_path / name).write_bytes(b"old")
    charts(bare(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.png", "scree.png", "space.png"]


def test_a_chart_that_cannot_be_drawn_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, as it is written under another name first."""
    (first,) = charts(replace(bare(), shares=np.zeros(0)), tmp_path)
    before = first.read_bytes()
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        charts(bare(), tmp_path)
    assert first.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["space.png"]


def test_one_component_lies_beside_the_labels() -> None:
    """Whatever the model tells of further ones, their share is not written on the axis of the labels."""
    for components, title in (([0.0], "Label"), ([0.0, 1.0], "Component 2 · 30.0 %")):
        point = {"uri": "/a.jpg", "label": None, "source": "/", "distance": None, "components": components}
        sample = Sample(1, pa.Table.from_pylist([point], POINTS))
        figure = Figure()
        charts_module._space(replace(bare(), sample=sample, shares=np.array([0.7, 0.3])), figure)
        assert figure.axes[0].get_ylabel() == title


def test_labels_that_are_not_told_of_are_counted() -> None:
    """Thirteen are told of."""
    figure = Figure()
    charts_module._labels(replace(portrait(40, drawn=12), labels_beyond=1200), figure)
    assert figure.axes[0].get_title() == "Pictures, the 13 largest of 1,213 labels"


def test_any_name_can_be_drawn(tmp_path: Path) -> None:
    """Whatever its script, and whatever matplotlib would make of a dollar or an escape."""
    assert len(charts(hostile(), tmp_path)) == 5
