"""The page in a real browser: what a person who opens the file can see and do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batch.report.findings import Findings, Interval
from batch.report.page import page
from tests.report.browser import DESK, PHONE, Visit, chromium, visit
from tests.report.portrait import SCRIPT, bare, hostile, portrait

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FOUND = portrait(260, drawn=36)
LINKED, UNLINKED = FOUND.sample.points["uri"].to_pylist()[2:4]
# How much lighter the lighter of two colours of an element and its ground is (WCAG 2.2, 1.4.3).
CONTRAST = """element => {
  const light = (css) => {
    const part = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = css.match(/[\\d.]+/g).map((each) => part(Number(each) / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let ground = element;
  while (/rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
  const [a, b] = [light(getComputedStyle(element).color), light(getComputedStyle(ground).backgroundColor)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write each page once."""
    folder = tmp_path_factory.mktemp("pages")
    makers: dict[str, Callable[[], Findings]] = {
        "portrait": lambda: FOUND,
        "hostile": hostile,
        "bare": bare,
        "none": lambda: bare(0),
    }

    def write(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            path.write_text(page(makers[name]()), "utf-8")
        return path

    return write


@pytest.fixture
def opened(browser: Browser, written: Callable[[str], Path]) -> Iterator[Visit]:
    """Open the portrait at a desk, and let nobody leave it with a complaint."""
    with visit(browser, written("portrait")) as visited:
        yield visited
        assert visited.complaints == []


@pytest.mark.parametrize(
    ("name", "theme", "size"),
    [(name, *how) for name in ("portrait", "hostile", "bare", "none") for how in (("light", PHONE), ("dark", DESK))]
    + [("portrait", "light", DESK), ("portrait", "dark", PHONE)],
)
def test_opens_without_a_complaint_a_request_or_a_scrollbar_to_the_side(
    browser: Browser, written: Callable[[str], Path], name: str, theme: str, size: tuple[int, int]
) -> None:
    """Whatever was found, on a desk and on a phone, by day and by night."""
    with visit(browser, written(name), size, theme) as visited:
        wide = visited.page.evaluate("document.documentElement.scrollWidth")
        for selector in ("h1", ".lead", ".brand", "nav a", ".figures small", "summary"):
            for element in visited.page.locator(selector).all()[:3]:
                assert element.evaluate(CONTRAST) >= 4.5, selector
        for field in visited.page.locator("#search, select, .plain").locator("visible=true").all()[:5]:
            assert field.evaluate(CONTRAST.replace("(element).color", "(element).borderTopColor")) >= 3
        assert wide <= size[0]
        assert visited.complaints == []
        assert [url for url in visited.asked if not url.startswith(("file:", "blob:", "data:"))] == []


def test_hovering_shows_the_picture_and_what_is_known_of_it(opened: Visit) -> None:
    """A thumbnail, its label, its uri and how far it lies from its label's centre; away from pictures the card goes."""
    box = opened.page.locator("#scatter").bounding_box()
    assert box
    card = opened.page.locator("#point")
    for step in range(60, 800, 7):
        opened.page.mouse.move(box["x"] + step, box["y"] + box["height"] * 0.42)
        if card.is_visible() and "from the centre" in card.inner_text():
            break
    assert re.search(r"/data/landing/.+\d{5}\.jpg", opened.text("#point-uri"))
    assert opened.text("#point-label")
    assert re.search(r"[\d.]+ from the centre of its label, [\d.]+ × its spread", opened.text("#point-distance"))
    assert "blob:" in opened.page.locator("#point-thumb").evaluate("e => getComputedStyle(e).backgroundImage")
    opened.page.mouse.move(box["x"] + 4, box["y"] + 4)
    assert not card.is_visible()


def test_search_counts_hits_and_enter_steps_through_them(opened: Visit) -> None:
    """By uri and by label, in any case."""
    opened.page.fill("#search", "CHERRY")
    hits = FOUND.sample.points["label"].to_pylist().count("Cherry")
    assert opened.text("#hits").startswith(f"{hits} hits")
    opened.page.press("#search", "Enter")
    first = opened.text("#point-uri")
    opened.page.press("#search", "Enter")
    assert opened.text("#hits") == f"2 of {hits}"
    assert opened.text("#point-uri") != first
    assert opened.text("#point-label") == "Cherry"
    opened.page.fill("#search", "nowhere to be found")
    assert opened.text("#hits") == "0 hits"


def test_a_held_card_offers_the_picture_where_there_is_a_link(opened: Visit) -> None:
    """And its neighbours, which lead on; without a link nothing is offered."""
    for uri, link in ((LINKED, f"file://{LINKED}".replace(" ", "%20")), (UNLINKED, None)):
        opened.page.fill("#search", uri)
        opened.page.press("#search", "Enter")
        assert opened.text("#point-uri") == uri
        assert opened.page.locator("#point-link").is_visible() == bool(link)
        assert not link or opened.page.locator("#point-link").evaluate("e => e.href") == link
    opened.page.locator("#near button").first.click()
    assert opened.text("#point-uri") != UNLINKED
    opened.page.click("#point-close")
    assert not opened.page.locator("#point").is_visible()


def test_labels_are_hidden_inverted_and_brought_out(opened: Visit) -> None:
    """The summary of the chart says how many pictures are shown."""
    whole = opened.drawing()
    n = FOUND.n
    assert opened.summary().startswith(f"{n} of {n} pictures by Component 1")
    opened.page.get_by_label("Show Banana").uncheck()
    without = int(opened.summary().split()[0])
    assert without == n - FOUND.sample.points["label"].to_pylist().count("Banana")
    opened.page.click("#invert")
    assert opened.summary().startswith(f"{n - without} of")
    opened.page.click("#none")
    assert opened.summary().startswith("0 of")
    opened.page.click("#all")
    assert opened.drawing() == whole
    cherry = opened.page.locator("#legend button", has_text="Cherry")
    cherry.click()
    assert cherry.get_attribute("aria-pressed") == "true"
    assert opened.drawing() != whole


def test_axes_are_chosen_and_three_of_them_turn(opened: Visit) -> None:
    """Each choice says which share of the variance it shows."""
    flat = opened.drawing()
    opened.page.select_option("#axis-0", "3")
    assert re.search(r"Component 4 · [\d.]+ %, Component 2", opened.summary())
    opened.page.locator("#deep").check(force=True)
    assert "Component 3" in opened.summary()
    deep = opened.drawing()
    box = opened.page.locator("#scatter").bounding_box()
    assert box
    opened.page.mouse.move(box["x"] + 300, box["y"] + 300)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 380, box["y"] + 330, steps=3)
    opened.page.mouse.up()
    assert len({flat, deep, opened.drawing()}) == 3


def test_the_wheel_zooms_the_chart_once_it_is_clicked_and_scrolls_the_page_before(opened: Visit) -> None:
    """So that nobody who reads on is caught by the chart."""
    box = opened.page.locator("#scatter").bounding_box()
    assert box
    before = opened.drawing()
    opened.page.mouse.move(box["x"] + 300, box["y"] + 200)
    opened.page.mouse.wheel(0, 120)
    opened.page.evaluate("new Promise(done => (function look() { scrollY ? done() : requestAnimationFrame(look) })())")
    opened.page.locator("#stage").focus()
    at = opened.page.evaluate("scrollY")
    opened.page.mouse.wheel(0, -300)
    assert opened.drawing() != before
    assert opened.page.evaluate("scrollY") == at
    opened.page.click("#whole")


def test_everything_is_reached_by_keys(opened: Visit) -> None:
    """From the skip link to the chart, whose pictures arrow keys step through."""
    seen: list[str] = []
    for _ in range(45):
        opened.page.keyboard.press("Tab")
        seen.append(opened.page.evaluate("document.activeElement.id || document.activeElement.className"))
        if "search" in seen:
            break
    assert seen[0] == "skip"
    assert {"theme", "axis-0", "stage", "nearer", "whole", "search"} <= set(seen)
    opened.page.locator("#stage").focus()
    opened.page.keyboard.press("ArrowRight")
    first = opened.text("#point-uri")
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("Enter")
    assert opened.text("#point-uri") != first
    assert opened.page.locator("#near button").count() == 6
    opened.page.keyboard.press("Escape")
    assert not opened.page.locator("#point").is_visible()


def test_a_card_is_closed_by_keys_and_the_place_kept(opened: Visit) -> None:
    """Whether it is only shown or held; it goes with the focus, and a screen reader hears each step."""
    card, stage = opened.page.locator("#point"), opened.page.locator("#stage")
    stage.focus()
    opened.page.keyboard.press("ArrowRight")
    first = opened.text("#point-uri")
    label = opened.text("#point-label")
    assert opened.page.locator("#told").inner_text().startswith(f"{label}; {first}; ")
    opened.page.keyboard.press("Escape")
    assert not card.is_visible()
    opened.page.keyboard.press("ArrowRight")
    second = opened.text("#point-uri")
    opened.page.keyboard.press("ArrowLeft")
    opened.page.locator("#search").focus()
    assert not card.is_visible()
    stage.focus()
    for key in ("ArrowRight", "Enter", "Escape", "ArrowRight"):
        opened.page.keyboard.press(key)
    assert opened.text("#point-uri") not in (first, second)


def test_focus_stays_within_what_a_key_has_opened(opened: Visit) -> None:
    """It goes on to the neighbours of a neighbour, and Escape brings it back to the chart."""
    focus = "document.activeElement.closest('#near') ? 'near' : document.activeElement.id"
    opened.page.locator("#stage").focus()
    for key in ("ArrowRight", "Enter"):
        opened.page.keyboard.press(key)
    opened.page.locator("#near button").nth(2).press("Enter")
    assert opened.page.evaluate(focus) == "near"
    assert opened.text("#point-uri") in opened.page.locator("#told").inner_text()
    opened.page.keyboard.press("Escape")
    assert opened.page.evaluate(focus) == "stage"
    assert not opened.page.locator("#point").is_visible()


def held_by_mouse(opened: Visit) -> tuple[float, float]:
    """Hold a linked picture by a click, and return where it lies."""
    box = opened.page.locator("#scatter").bounding_box()
    assert box
    for step in range(60, 800, 7):
        at = (box["x"] + step, box["y"] + box["height"] * 0.42)
        opened.page.mouse.click(*at)
        if opened.page.locator("#point-link").is_visible():
            return at
    raise AssertionError("no picture with a link lies on the line")


def test_only_the_link_opens_a_picture(opened: Visit) -> None:
    """A second click on it does not, and the right button holds nothing."""
    at = held_by_mouse(opened)
    opened.page.mouse.click(*at, delay=50)
    opened.page.mouse.dblclick(*at)
    opened.page.click("#point-close")
    opened.page.mouse.click(*at, button="right")
    assert opened.page.locator("#point-close").is_hidden()
    assert len(opened.page.context.pages) == 1


def test_a_label_is_brought_out_of_what_was_found(opened: Visit) -> None:
    """Both count together."""
    opened.page.fill("#search", "1.jpg")
    hits = opened.drawing()
    opened.page.locator("#legend button", has_text="Cherry").click()
    both = opened.drawing()
    opened.page.fill("#search", "")
    assert len({hits, both, opened.drawing()}) == 3


def test_searching_backwards_begins_with_the_last_hit(opened: Visit) -> None:
    """And goes down from there."""
    opened.page.fill("#search", "cherry")
    hits = FOUND.sample.points["label"].to_pylist().count("Cherry")
    for place in (hits, hits - 1):
        opened.page.press("#search", "Shift+Enter")
        assert opened.text("#hits") == f"{place} of {hits}"


def test_paper_has_every_thumbnail(opened: Visit) -> None:
    """Those that nobody has scrolled to, too."""
    bare = "[...document.querySelectorAll('.thumb[data-sprite]')].filter(e => !e.style.backgroundImage).length"
    assert opened.page.evaluate(bare) > 0
    opened.page.pdf()
    assert opened.page.evaluate(bare) == 0


def test_tables_are_sorted_by_mouse_and_keys_and_filtered(opened: Visit) -> None:
    """Numbers from the greatest, names from the first; numbers that are not known come last."""
    head = opened.page.locator("#label-table th", has_text="Spread")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = [
        float(each.get_attribute("data-value") or "")
        for each in opened.page.locator("td:nth-child(3)[data-value]").all()[:14]
    ]
    assert values == sorted(values, reverse=True)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert opened.page.locator("#label-table [aria-sort]").count() == 1
    opened.page.fill("[data-filters]", "apple")
    assert opened.text("#label-table-count") == "2 of 14"
    assert opened.page.locator("#label-table tbody tr:visible").count() == 2


def test_what_is_listed_leads_back_to_the_chart(opened: Visit) -> None:
    """A thumbnail of a suspicious picture holds it there; a label's name brings the label out."""
    opened.page.locator("#strays button[data-point]").first.click()
    assert opened.text("#point-uri") == FOUND.strays[0].uri
    opened.page.locator("#label-table button[data-label]", has_text="Kiwi").click()
    assert opened.page.locator("#legend li.focus bdi").text_content() == "Kiwi"


def test_colours_follow_the_button(opened: Visit) -> None:
    """As the system has them, then light, then dark."""
    grounds = []
    for _ in range(3):
        grounds.append(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        opened.page.click("#theme")
    assert grounds[0] == grounds[1] != grounds[2]
    assert opened.text("#theme") == "Auto"
    assert opened.page.locator("#theme").get_attribute("aria-label") == "Colours: Auto, as the system has them"


def test_curves_are_drawn_and_tell_their_numbers(opened: Visit) -> None:
    """Beside the pointer, and to a screen reader."""
    for plot in ("scree", "cumulative", "shift", "errors", "fresh", "rate"):
        picture = opened.page.locator(f"#{plot} svg")
        assert re.search(r"from .+ to .+", picture.get_attribute("aria-label") or "")
    opened.page.locator("#fresh svg").hover(position={"x": 90, "y": 60})
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC\nmedian .+\n95 % .+", opened.text("#fresh .tip"))


def test_names_are_texts_whatever_they_hold(browser: Browser, written: Callable[[str], Path]) -> None:
    """In the list of labels, in the card, in the tables; nothing in them runs."""
    with visit(browser, written("hostile")) as visited:
        visited.page.fill("#search", SCRIPT)
        visited.page.press("#search", "Enter")
        assert visited.text("#point-uri").endswith(f"?{SCRIPT}")
        assert SCRIPT in visited.text("#legend")
        assert r"gnp.\u202eexe.fruit" in visited.text("#legend")
        assert visited.page.locator("main img").count() == 0
        assert visited.complaints == []


def test_a_tap_holds_a_picture_on_a_phone(browser: Browser, written: Callable[[str], Path]) -> None:
    """Its card stands below the chart."""
    with visit(browser, written("portrait"), PHONE) as visited:
        visited.page.locator("#scatter").scroll_into_view_if_needed()
        box = visited.page.locator("#scatter").bounding_box()
        assert box
        for step in range(80, 330, 12):
            visited.page.touchscreen.tap(box["x"] + step, box["y"] + box["height"] * 0.4)
            if visited.page.locator("#point-close").is_visible():
                break
        card = visited.page.locator("#point").bounding_box()
        canvas = visited.page.locator("#scatter").bounding_box()
        assert card
        assert canvas
        assert card["y"] >= canvas["y"] + canvas["height"]


def test_a_tap_on_a_curve_shows_its_numbers(browser: Browser, written: Callable[[str], Path]) -> None:
    """Until another tap elsewhere."""
    with visit(browser, written("portrait"), PHONE) as visited:
        visited.page.locator("#fresh svg").tap(position={"x": 90, "y": 60})
        assert "median" in visited.text("#fresh .tip")
        visited.page.locator("#rate svg").tap(position={"x": 90, "y": 60})
        assert not visited.page.locator("#fresh .tip").is_visible()


def test_a_sample_is_called_one(browser: Browser, tmp_path: Path) -> None:
    """In what a screen reader hears of the chart, with thousands set apart."""
    (path := tmp_path / "sample.html").write_text(page(portrait(1200, of=20_000, drawn=12, side=32)), "utf-8")
    with visit(browser, path) as visited:
        assert visited.summary().startswith("1,200 of 1,200 pictures, a sample of 20,000, by Component 1")


def test_seconds_are_told_where_minutes_are_the_same(browser: Browser, tmp_path: Path) -> None:
    """Below the curves, where no text comes twice in a row, and beside the pointer."""
    start = FOUND.intervals[0].start
    times = [start + timedelta(seconds=15 * place) for place in range(20)]
    short = tuple(Interval(at, at + timedelta(seconds=15), 1, 0, 1.0, 1.0, 0.1) for at in times)
    refits = [replace(FOUND.refits[1], created_at=start + timedelta(days=days)) for days in (0, 0, 30, 30)]
    (path := tmp_path / "short.html").write_text(page(replace(FOUND, intervals=short, refits=tuple(refits))), "utf-8")
    with visit(browser, path) as visited:
        visited.page.wait_for_selector("#rate svg text", state="attached")
        said = visited.page.locator("#rate svg text").all_text_contents()
        assert f"{start:%H:%M:%S}" in said
        visited.page.locator("#fresh svg").hover(position={"x": 60, "y": 60})
        assert visited.text("#fresh .tip").startswith(f"{start:%Y-%m-%d %H:%M}:")
        days = [each for each in visited.page.locator("#shift svg text").all_text_contents() if "-" in each]
        assert len(days) == len(set(days)) == 2


def test_an_old_browser_says_what_it_lacks(browser: Browser, written: Callable[[str], Path]) -> None:
    """And shows the rest, whose tables are sorted as ever."""
    with visit(browser, written("portrait"), before="delete globalThis.DecompressionStream") as visited:
        assert "need a newer browser" in visited.text("#too-old")
        assert not visited.page.locator("#scatter, figure, #theme").locator("visible=true").count()
        head = visited.page.locator("#label-table th", has_text="Spread")
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        assert visited.complaints == []
    with visit(browser, written("portrait")) as visited:
        assert not visited.page.locator("#too-old").is_visible()
