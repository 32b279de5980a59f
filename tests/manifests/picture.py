"""The picture of how trust works, drawn as SVG from the parts that it is made of.

What this file does not do: lay anything out by itself. Places are numbers here, checked by eye.

Rules:
1. It has a ground of its own, so that it is readable on any page, and two sets of colours: light, and dark for who wants it.
2. No font, script or address is fetched, and every word of it can be selected and read aloud.

Sources: SVG 1.1; Media Queries Level 5 §11.5 (``prefers-color-scheme``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 1040
HEIGHT: Final = 500
TITLE: Final = "How trust works in r4-mcp"
TOLD: Final = (
    "An operator shares vaults through the R4 service and writes the policy of the runtime. The service sends ciphertext, "
    "wrapped keys and signed checkpoints; the runtime holds the private key and the pins, and checks all of it. The model gets "
    "verified names and references, and one value by an explicit read."
)

_STYLE: Final = """
text { font-family: system-ui, -apple-system, 'Segoe UI', sans-serif; font-size: 14px; fill: #1f2933 }
.ground { fill: #fbfcfd; stroke: #d5dce3 }
.box { fill: #ffffff; stroke: #7b8794; stroke-width: 1.5 }
.inner { stroke: #0b7a75; stroke-width: 2.5 }
.name { font-size: 17px; font-weight: 600 }
.quiet { fill: #52606d; font-size: 13px }
.over { paint-order: stroke; stroke: #fbfcfd; stroke-width: 6px }
.border { stroke: #b0bac4; stroke-dasharray: 3 6 }
.way { stroke: #52606d; stroke-width: 1.6 }
.head { fill: #52606d }
.value { stroke: #b4530a } .value-head { fill: #b4530a } .value-word { fill: #9a4607; font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb }
  .ground { fill: #12181f; stroke: #2c3641 }
  .box { fill: #1b232c; stroke: #7b8794 }
  .inner { stroke: #2cb1a6 }
  .quiet { fill: #a7b3bf }
  .over { stroke: #12181f }
  .border { stroke: #4a5662 }
  .way { stroke: #a7b3bf } .head { fill: #a7b3bf }
  .value { stroke: #f0a35e } .value-head { fill: #f0a35e } .value-word { fill: #f0a35e }
}
"""


@dataclass(frozen=True)
class Box:
    """One of the four parties.

    Attributes:
        kind: Classes beside ``box``.
        lines: What it has and does.
        last: What stands at its foot.
    """

    x: int
    y: int
    width: int
    height: int
    name: str
    lines: tuple[str, ...]
    last: str = ""
    kind: str = ""

    def drawn(self) -> Iterator[str]:
        """Yield its elements."""
        yield (
            f'<rect class="{" ".join(("box", *self.kind.split()))}" x="{self.x}" y="{self.y}" width="{self.width}" '
            f'height="{self.height}" rx="10"/>'
        )
        yield text(self.x + 18, self.y + 32, self.name, "name")
        for number, line in enumerate(self.lines):
            yield text(self.x + 18, self.y + 60 + 22 * number, line)
        if self.last:
            yield text(self.x + 18, self.y + self.height - 18, self.last, "quiet")


@dataclass(frozen=True)
class Way:
    """What crosses a border: a straight arrow, and its words.

    Attributes:
        words: Lines above a level arrow, or beside a steep one.
        is_value: Whether this is the one way on which a plaintext goes.
    """

    start: tuple[int, int]
    end: tuple[int, int]
    words: tuple[str, ...]
    is_value: bool = False

    def drawn(self) -> Iterator[str]:
        """Yield its elements."""
        (x1, y1), (x2, y2) = self.start, self.end
        line, head, word = ("way value", "value-head", "over value-word") if self.is_value else ("way", "head", "over quiet")
        yield f'<line class="{line}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'
        yield f'<polygon class="{head}" points="{self._head()}"/>'
        steep = x1 == x2
        for number, told in enumerate(self.words):
            if steep:
                yield text(x1 + 14, (y1 + y2) // 2 + 5 + 18 * number, told, word)
            else:
                yield text((x1 + x2) // 2, y1 - 9 - 18 * (len(self.words) - 1 - number), told, word, middle=True)

    def _head(self) -> str:
        (x1, y1), (x, y) = self.start, self.end
        if x1 == x:
            back = 9 if y1 < y else -9
            return f"{x},{y} {x - 5},{y - back} {x + 5},{y - back}"
        back = 9 if x1 < x else -9
        return f"{x},{y} {x - back},{y - 5} {x - back},{y + 5}"


BOXES: Final = (
    Box(40, 36, 610, 78, "Operator", ("a person: creates the agent, shares vaults, signs items, decides",)),
    Box(40, 210, 210, 226, "R4 service", ("ciphertext", "wrapped keys", "signed metadata"), "opens nothing, proves itself"),
    Box(
        420,
        210,
        230,
        226,
        "Runtime",
        ("private key, API key", "pins: signers, versions", "policy, budget, audit log", "verifies, then opens"),
        "this machine: believes proofs",
        "inner",
    ),
    Box(820, 210, 180, 226, "Model", ("names", "references", "what it asked to read"), "holds no key"),
)
WAYS: Final = (
    Way((145, 114), (145, 210), ("grants, signatures",)),
    Way((535, 114), (535, 210), ("policy, a yes or no",)),
    Way((250, 296), (420, 296), ("ciphertext,", "wrapped keys,", "signed checkpoints")),
    Way((420, 386), (250, 386), ("new ciphertext,", "its own signatures")),
    Way((650, 278), (820, 278), ("verified names,", "references")),
    Way((820, 336), (650, 336), ("calls by reference",)),
    Way((650, 404), (820, 404), ("one value,", "by an explicit read"), is_value=True),
)
BORDERS: Final = (335, 735)
"""Where one party's ground ends, in units from the left."""

FOOT: Final = (
    "Nothing is believed because of who sends it: what fails a proof is refused, and leaves no trace in what is remembered."
)


def picture() -> str:
    """Return the SVG."""
    elements = [
        f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="14"/>',
        *(f'<line class="border" x1="{x}" y1="150" x2="{x}" y2="446"/>' for x in BORDERS),
        *(element for part in (*BOXES, *WAYS) for element in part.drawn()),
        text(WIDTH // 2, HEIGHT - 22, FOOT, "quiet", middle=True),
    ]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title told">',
            f'<title id="title">{escape(TITLE)}</title>',
            f'<desc id="told">{escape(TOLD)}</desc>',
            f"<style>{_STYLE}</style>",
            *elements,
            "</svg>\n",
        )
    )


def text(x: int, y: int, words: str, kind: str = "", *, middle: bool = False) -> str:
    """Return a line of words."""
    classes = f' class="{kind}"' if kind else ""
    anchor = ' text-anchor="middle"' if middle else ""
    return f'<text{classes} x="{x}" y="{y}"{anchor}>{escape(words)}</text>'
