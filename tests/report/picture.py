"""`python -m tests.report.picture PAGE PICTURE`: the README's picture of a report, taken by an installed Chromium."""

import io
import sys
from pathlib import Path

from PIL import Image

from tests.report.browser import chromium

_WIDTH, _HEIGHT = 1280, 1180
# Twice as fine as it is shown, then half as large: letters stay sharp in a JPEG.
_SCALE = 2


def take(page: Path, picture: Path) -> None:
    """Open a report, step to a picture, and keep what is seen."""
    with chromium() as browser:
        context = browser.new_context(
            viewport={"width": _WIDTH, "height": _HEIGHT}, device_scale_factor=_SCALE, color_scheme="light"
        )
        shown = context.new_page()
        shown.goto(page.resolve().as_uri())
        shown.wait_for_timeout(1000)
        shown.locator("#stage").focus()
        for key in ("ArrowUp", "ArrowUp", "ArrowUp", "Enter"):
            shown.keyboard.press(key)
        shown.wait_for_timeout(500)
        image = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
    image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS).save(picture, quality=82)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
