"""The page as a file: complete in itself, small enough, and true to whatever names there are."""

import base64
import gzip
import json
import math
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from batch.report import data, palette, wording
from batch.report.findings import Findings, Interval
from batch.report.page import page
from batch.report.thumbnails import sprites
from tests.report.portrait import MADE_AT, SCRIPT, SIDE, bare, hostile, portrait

SECTIONS = ("space", "variance", "labels", "strays", "duplicates", "rejections", "drift", "freshness", "card")


@pytest.fixture(scope="module")
def found() -> Findings:
    return portrait(300, drawn=36)


@pytest.fixture(scope="module")
def written(found: Findings) -> str:
    return page(found)


def packed(written: str) -> dict[str, Any]:
    """Return what the page's program reads."""
    text = re.search(r'id="data">([^<]+)<', written)
    assert text
    values: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text[1])))
    return values


def seen(written: str) -> str:
    """Return the page's text without its marks and programs."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", written, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_nothing_is_loaded_from_anywhere(written: str) -> None:
    """No element asks for an address, and the policy of the page forbids it."""
    assert re.findall(r"<(?:script|img|iframe|audio|video|object|embed)\b[^>]*\bsrc", written) == []
    assert re.findall(r'<link\b[^>]*href="(?!data:)', written) == []
    assert not re.search(r"@import|url\((?!\$)", written)
    policy = unescape(re.findall(r'Content-Security-Policy" content="([^"]+)"', written)[0])
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy


def test_equal_findings_make_equal_pages(found: Findings, written: str) -> None:
    """To the byte, so that a page can be compared with another."""
    assert page(found) == written


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_has_its_place_and_a_link_to_it(written: str, section: str) -> None:
    """Whatever was found."""
    for each in (written, page(bare(0))):
        assert f'<section id="{section}"' in each
        assert f'<a href="#{section}">' in each


def test_what_was_not_found_is_said_in_a_sentence() -> None:
    """One in each section."""
    text = seen(page(bare(0)))
    for sentence in (
        "There is nothing to draw: the view has no pictures.",
        "The model tells of no variance.",
        "No picture has a label.",
        "There are not two labels to compare.",
        "No picture is there twice.",
        "Nothing was rejected.",
        "There has been no refit.",
        "Nothing was featurized in the time that is looked at.",
        "The model does not tell how it was made.",
    ):
        assert sentence in text


def test_the_head_says_what_the_report_is_of(found: Findings, written: str) -> None:
    """Lake, featurizer, model, time and the key figures; a sample is called one only where it is."""
    text = seen(written)
    for part in (found.lake, found.featurizer, found.model, "2026-05-04 09:30 UTC", "300 pictures", "98.9 %"):
        assert part in text
    assert "A sample:" not in text
    drawn = replace(
        found, n=9000, sample=replace(found.sample, of=9000, rule="300 of 9,000 pictures are drawn: by chance")
    )
    assert "A sample: 300 of 9,000 pictures are drawn: by chance." in seen(page(drawn))


def test_what_is_not_shown_is_counted(found: Findings) -> None:
    """Further copies of a picture, and labels too small to be told of."""
    copies = tuple(replace(group, more=40) for group in found.duplicates.copies)
    text = seen(page(replace(found, duplicates=replace(found.duplicates, copies=copies), labels_beyond=12)))
    assert f"{len(copies[0].uris) + 40} ×" in text
    assert "and 40 more" in text
    assert "25 labels" in text
    assert "12 smaller labels are left out" in text


def test_key_figures_say_what_they_are_of(found: Findings, written: str) -> None:
    """Freshness of all first outcomes, the part that was rejected of all pictures; one of a kind has no plural."""
    for part in ("5.2 s freshness, median 95 % within 14.2 s", "21 rejected 6.5 % of all pictures"):
        assert part in seen(written)
    one = replace(found, suspected=1, freshness=(math.nan, math.nan), labels_beyond=1)
    assert "1 suspect picture more like" in seen(page(one))
    assert "– freshness, median no first outcome is told of" in seen(page(one))
    assert "1 smaller label is left out" in seen(page(one))
    named = tuple(label for label in found.labels if label.name is not None)
    assert "13 labels no pictures without one" in seen(page(replace(found, labels=named)))
    assert "33 labels the 13 largest are told of" in seen(page(replace(found, labels=named, labels_beyond=20)))


def test_the_charts_of_variance_show_as_many_components_as_is_said(found: Findings, written: str) -> None:
    """Half as many again as the model has."""
    assert "the charts show the first 36 components." in seen(written)
    assert len(packed(written)["shares"]) == data.charted(found) == 36
    assert data.charted(replace(found, k=3)) == 20
    assert data.charted(replace(found, k=59)) == 60


def test_near_pairs_say_how_they_were_looked_for(found: Findings, written: str) -> None:
    """Among how many pictures, and how many of them were compared by thumbnail."""
    text = seen(written)
    others = "the others count only where they lie very near."
    assert f"11 pairs that look alike among 300 pictures; 40 of them were compared by thumbnail, {others}" in text
    assert "thumbnails differ by 9.00 of 255 levels" in text
    part = replace(found, n=9000, duplicates=replace(found.duplicates, compared=1, alike=(), pairs=0))
    assert f"among 300 pictures in the sample; 1 of them was compared by thumbnail, {others}" in seen(page(part))
    none = replace(found, duplicates=replace(found.duplicates, compared=0))
    assert "none of them was compared by thumbnail, and a pair counts only where the two lie" in seen(page(none))


def test_neighbours_say_by_how_many_components(written: str) -> None:
    """The page carries ten at most."""
    assert "Nearest by the first 10 components, among the pictures drawn" in seen(written)
    assert "Nearest among the pictures drawn" in seen(page(portrait(40, drawn=12, k=10)))


def test_labels_that_moved_are_those_that_did(found: Findings) -> None:
    """One that stayed is not among them; an angle that only rounding made is none."""
    told = {
        "principal_angles": [8.4e-14],
        "labels": [{"label": "Kiwi", "mean_shift": 0.0}, {"label": "Plum", "mean_shift": 0.5}],
    }
    text = seen(page(replace(found, refits=(replace(found.refits[-1], drift=told),))))
    moved = text.partition("Labels that moved most")[2].partition("Freshness and throughput")[0]
    assert "Plum 0.500" in moved
    assert "Kiwi" not in moved
    assert " 0° " in text


def test_short_stretches_are_told_to_the_second(found: Findings, written: str) -> None:
    """Else their moments would be the same."""
    assert "2026-05-04 09:00 UTC" in seen(written)
    start = MADE_AT.replace(tzinfo=None)
    few = [
        Interval(start + timedelta(seconds=5 * at), start + timedelta(seconds=5 * at + 5), 1, 0, 1.0, 1.0, 0.2)
        for at in (0, 1)
    ]
    text = seen(page(replace(found, intervals=tuple(few))))
    for part in ("2026-05-04 09:30:05 UTC 1 0", "to 2026-05-04 09:30:10 UTC, in steps of 5 s."):
        assert part in text


def test_links_that_run_out_are_told_of_where_there_are_any(found: Findings, written: str) -> None:
    """A file stays where it is."""
    assert "may run out" not in written
    assert "may run out" in page(replace(found, links={"a": "https://b/c?X-Amz-Expires=60"}))


def test_names_are_escaped_and_what_cannot_be_seen_is_spelled_out() -> None:
    """In the HTML as in the data; the page's own program is the only one."""
    written = page(hostile())
    assert SCRIPT not in written
    assert len(re.findall(r"<script(?![^>]*octet-stream)", written)) == 1
    assert "\u202e" not in written + json.dumps(packed(written), ensure_ascii=False)
    assert r"gnp.\u202eexe.fruit" in seen(written)
    assert "onclick" not in re.sub(r'"[^"]*"', "", written.partition("<main>")[2].partition("</main>")[0]).replace(
        "&#34; onclick=&#34;x", ""
    )


def test_a_link_that_could_be_a_program_is_left_out(found: Findings, written: str) -> None:
    """Only addresses of the web and of files are links."""
    assert "javascript:" not in written
    assert data.opened({"a": " JavaScript:alert(1)"}, "a") == ""
    assert data.opened({"a": "https://b/c"}, "a") == "https://b/c"
    links = packed(written)["links"]
    assert len(links) == len(found.links) - 1


def test_points_come_back_as_they_were(found: Findings, written: str) -> None:
    """Components to a part in 65,000 of their range, distances as they are, labels by their place."""
    values = packed(written)
    steps = np.frombuffer(base64.b64decode(values["components"]), "<i2").reshape(len(values["axes"]), -1)
    wanted = data.components(found.sample)
    for axis, told in enumerate(values["axes"]):
        column = told["low"] + (steps[axis] + 32500.0) * told["step"]
        np.testing.assert_allclose(column, wanted[:, axis], atol=1.01 * told["step"])
    labels = np.frombuffer(base64.b64decode(values["label"]), "<i4")
    assert [values["labels"][place]["name"] for place in labels] == found.sample.points["label"].to_pylist()


def test_many_pictures_stay_within_the_budget() -> None:
    """5,400 pictures with a thumbnail each make less than 6 MB."""
    found = portrait(5400, drawn=36, side=56)
    written = page(found)
    assert len(written.encode()) < 6_000_000
    assert packed(written)["sprites"]["n"] == 5400


def test_thumbnails_get_smaller_and_then_fewer_as_they_must() -> None:
    """The most wanted ones stay, and the sheets keep to the budget."""
    random = np.random.default_rng(1)
    noise = {f"{place}.jpg": random.integers(0, 256, (48, 48, 3), np.uint8) for place in range(700)}
    wanted = [*reversed(noise)]
    small = sprites(noise, wanted, 400_000)
    few = sprites(noise, wanted, 60_000)
    assert small.side < 48
    assert sum(map(len, few.sheets)) <= 60_000
    assert list(few.places) == wanted[: len(few.places)]
    assert 0 < len(few.places) < 700


def test_a_sprite_is_the_thumbnail_of_its_picture(found: Findings) -> None:
    """At its place on its sheet, but for what WebP loses."""
    made = sprites(found.thumbnails, found.thumbnails)
    assert made.side == SIDE
    for uri in list(made.places)[::97]:
        number, place = divmod(made.places[uri], made.across**2)
        sheet = np.asarray(Image.open(BytesIO(made.sheets[number])))
        row, column = divmod(place, min(made.across, sheet.shape[1] // SIDE))
        cut = sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
        assert np.abs(cut.astype(int) - found.thumbnails[uri]).mean() < 6


def test_labels_look_different_until_colours_and_shapes_run_out() -> None:
    """48 of them; pictures without a label are grey."""
    looks = palette.looks([None, *map(str, range(60))])
    assert len(set(looks.values())) == 49
    assert looks[None].colour == -1


# What becomes of linear sRGB where a kind of cone is lacking (Machado, Oliveira and Fernandes 2009, severity 1), and
# how OKLab is made of it (Ottosson 2020).
SIGHT = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no middle": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no short": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
CONES = [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.68069955, 0.10739696], [0.08830246, 0.28171884, 0.6299787]]
LAB = [
    [0.21045426, 0.79361779, -0.00407205],
    [1.9779985, -2.42859221, 0.45059371],
    [0.02590404, 0.78277177, -0.80867577],
]


def linear(colours: list[str]) -> NDArray[np.float64]:
    """Return the linear sRGB of colours (3, n)."""
    values = np.array([[int(each[at : at + 2], 16) / 255 for each in colours] for at in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize(("ground", "place"), [("#ffffff", 0), ("#1a1d21", 1)])
def test_colours_stand_out_and_apart(ground: str, place: int) -> None:
    """By 3:1 from their ground, and from one another whatever cones somebody has."""
    colours = linear([ground, palette.NOTHING[place], *(each[place] for each in palette.COLOURS)])
    light = np.array([0.2126, 0.7152, 0.0722]) @ colours + 0.05
    assert np.maximum(light[1:] / light[0], light[0] / light[1:]).min() >= 3
    for name, sight in SIGHT.items():
        lab = np.array(LAB) @ np.cbrt(np.array(CONES) @ np.clip(np.array(sight) @ colours[:, 1:], 0, 1))
        apart = np.linalg.norm(lab[:, :, None] - lab[:, None, :], axis=0)
        assert apart[~np.eye(len(apart), dtype=bool)].min() > 0.08, name


def test_numbers_read_as_a_person_writes_them() -> None:
    """What is not known is a dash."""
    assert [wording.measure(each) for each in (0, 0.01234, 3.14159, 1234.5, 1e9, None)] == [
        "0",
        "0.0123",
        "3.14",
        "1,234",
        "1.00e+09",
        "–",
    ]
    assert [wording.span(each) for each in (0.0421, 7.0, 90.0, 7200.0, float("nan"))] == [
        "42 ms",
        "7 s",
        "1.5 min",
        "2 h",
        "–",
    ]
    assert [wording.span(each) for each in (0.9997, 59.9997, 3599.9, 86_399, 2520 * 86_400)] == [
        "1 s",
        "1 min",
        "1 h",
        "1 d",
        "2,520 d",
    ]
    assert [wording.counted(each, "copy", "copies") for each in (1, 2000)] == ["1 copy", "2,000 copies"]
    assert [wording.angle(each) for each in (8.4e-14, 12.34, None)] == ["0°", "12.3°", "–"]
    assert wording.share(0.9996) == "100 %"
    assert wording.moment(MADE_AT + timedelta(hours=1)) == "2026-05-04 10:30 UTC"
    assert wording.moment(MADE_AT.replace(tzinfo=None), seconds=True) == "2026-05-04 09:30:00 UTC"
