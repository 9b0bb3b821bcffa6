"""The charts as pictures for slides."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from batch.report.charts import charts
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


def test_any_name_can_be_drawn(tmp_path: Path) -> None:
    """Whatever its script, and whatever matplotlib would make of a dollar or an escape."""
    assert len(charts(hostile(), tmp_path)) == 5
