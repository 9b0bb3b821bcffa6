"""A browser that looks at a page: chromium without a window, and a record of all that it complains of or asks for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESK, PHONE = (1280, 900), (390, 844)
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@dataclass
class Visit:
    """A page that stands open.

    Attributes
    ----------
    page : playwright.sync_api.Page
    complaints : list of str
        What its console said, and what went wrong in its program.
    asked : list of str
        Where it has asked for anything.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        """Return the text of an element as it is shown."""
        return self.page.locator(selector).inner_text()

    def drawing(self) -> str:
        """Return the chart's pixels, once what was asked for is drawn: that is done before the next frame."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return str(self.page.evaluate("document.getElementById('scatter').toDataURL()"))

    def summary(self) -> str:
        """Return what a screen reader hears of the chart."""
        return self.page.locator("#scatter").get_attribute("aria-label") or ""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start chromium; skip where it, or playwright, is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    place = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if place is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=place, args=list(_ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def visit(
    browser: Browser, path: Path, size: tuple[int, int] = DESK, theme: str = "light", before: str = ""
) -> Iterator[Visit]:
    """Open a file as a person does, and wait until its program has done all that it does unasked.

    A program may run before the page's own.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        has_touch=size == PHONE,
    )
    page = context.new_page()
    page.add_init_script(before)
    visited = Visit(page)
    page.on("console", lambda message: visited.complaints.append(message.text))
    page.on("pageerror", lambda error: visited.complaints.append(str(error)))
    page.on("dialog", lambda dialog: visited.complaints.append(dialog.message))
    page.on("request", lambda request: visited.asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    yield visited
    context.close()
