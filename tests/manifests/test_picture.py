"""The picture of how trust works: what its source draws, whole on its ground, and readable in both sets of colours."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest

from .derived import PICTURE, REPOSITORY
from .picture import BOXES, HEIGHT, WAYS, WIDTH, picture
from .test_manifests import HOW

SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_is_what_its_source_draws() -> None:
    """Byte by byte, and the README shows it with words for who can't see it."""
    assert PICTURE.read_text() == picture(), HOW
    shown = re.search(r"!\[([^\]]+)\]\(manifests/trust\.svg\)", (REPOSITORY / "README.md").read_text())
    assert shown is not None
    assert {"operator", "service", "runtime", "model"} <= set(re.findall(r"\w+", shown[1].casefold()))


def test_it_fetches_and_runs_nothing() -> None:
    """It is an image: no script, no link, no font from elsewhere; its one address is the name of the format."""
    drawn = ET.fromstring(picture())  # noqa: S314 - our own
    assert {element.tag for element in drawn.iter()} == {
        SVG + tag for tag in ("svg", "title", "desc", "style", "rect", "line", "polygon", "text")
    }
    assert re.findall(r"\b[a-z]+://[^\"\s]+", picture()) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"url\(|@import|\bon\w+=", picture())


def test_every_word_stands_on_the_ground_and_the_parties_stand_apart() -> None:
    """No box touches another; an arrow begins and ends at the edge of one."""
    for one, other in combinations(BOXES, 2):
        apart = one.x + one.width < other.x or other.x + other.width < one.x or one.y + one.height < other.y
        assert apart, (one.name, other.name)
    for box in BOXES:
        assert 0 < box.x < box.x + box.width < WIDTH
        assert 0 < box.y < box.y + box.height < HEIGHT
    for way in WAYS:
        for x, y in (way.start, way.end):
            assert any(
                (x in {box.x, box.x + box.width} and box.y < y < box.y + box.height)
                or (y in {box.y, box.y + box.height} and box.x < x < box.x + box.width)
                for box in BOXES
            ), way
    # The one way of a plaintext, and where it leads.
    (value,) = (way for way in WAYS if way.is_value)
    assert value.end[0] == next(box.x for box in BOXES if box.name == "Model")


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2)."""
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("part", [0, 1], ids=["light", "dark"])
def test_words_are_readable(part: int) -> None:
    """On the ground and on a box, by the contrast that WCAG 2.2 wants of text: 4.5 to 1 (1.4.3)."""
    style = picture().split("@media")[part]

    def fill(kind: str) -> str:
        found = re.search(rf"^\s*(?:.*\}} )?{re.escape(kind)} {{[^}}]*fill: (#[0-9a-f]{{6}})", style, re.MULTILINE)
        assert found is not None, kind
        return found[1]

    for ground in (fill(".ground"), fill(".box")):
        for words in (fill("text"), fill(".quiet"), fill(".value-word")):
            light, dark = sorted((luminance(ground), luminance(words)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, words)
