"""The bundle's icon as PNG, drawn from its SVG: rounded rectangles, circles and polygons are all that it has.

What this file does not do: draw any other SVG. (No renderer is worth a dependency for four shapes.)

Sources: PNG (W3C, third edition) §5.3 and §11; SVG 1.1 §9.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

SIZE: Final = 256
"""Pixels of a side."""

_VIEW: Final = 64.0
"""Units of a side, as the SVG's viewBox says."""

_SAMPLES: Final = (0.25, 0.75)
"""Where a pixel is looked at, in each direction."""

Shape = Callable[[float, float], bool]
Colour = tuple[int, int, int]


def drawn(svg: Path) -> bytes:
    """Return the PNG of an SVG."""
    shapes = [_shape(element) for element in ET.parse(svg).getroot()]  # noqa: S314 - our own file
    rows = b"".join(b"\0" + b"".join(_pixel(shapes, x, y) for x in range(SIZE)) for y in range(SIZE))
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, *zip(*chunks, strict=True)))


def pixels(png: bytes) -> bytes:
    """Return the pixels of a PNG that ``drawn`` made: what is the same with any version of zlib."""
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    return zlib.decompress(png[start + 4 : start + 4 + length])


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _pixel(shapes: list[tuple[Shape, Colour]], x: int, y: int) -> bytes:
    seen = [_top(shapes, (x + dx) * _VIEW / SIZE, (y + dy) * _VIEW / SIZE) for dx in _SAMPLES for dy in _SAMPLES]
    solid = [colour for colour in seen if colour is not None]
    if not solid:
        return b"\0\0\0\0"
    mixed = [sum(channel) // len(solid) for channel in zip(*solid, strict=True)]
    return bytes([*mixed, 255 * len(solid) // len(seen)])


def _top(shapes: list[tuple[Shape, Colour]], x: float, y: float) -> Colour | None:
    return next((colour for inside, colour in reversed(shapes) if inside(x, y)), None)


def _shape(element: ET.Element) -> tuple[Shape, Colour]:
    fill = element.attrib["fill"].removeprefix("#")
    colour = (int(fill[:2], 16), int(fill[2:4], 16), int(fill[4:], 16))
    make = {"rect": _rect, "circle": _circle, "polygon": _polygon}[element.tag.rpartition("}")[2]]
    return make(element.attrib), colour


def _rect(attributes: dict[str, str]) -> Shape:
    left, top, width, height, radius = (float(attributes[name]) for name in ("x", "y", "width", "height", "rx"))

    def inside(x: float, y: float) -> bool:
        if not (left <= x <= left + width and top <= y <= top + height):
            return False
        dx = max(left + radius - x, x - (left + width - radius), 0.0)
        dy = max(top + radius - y, y - (top + height - radius), 0.0)
        return dx * dx + dy * dy <= radius * radius

    return inside


def _circle(attributes: dict[str, str]) -> Shape:
    cx, cy, radius = (float(attributes[name]) for name in ("cx", "cy", "r"))
    return lambda x, y: (x - cx) ** 2 + (y - cy) ** 2 <= radius * radius


def _polygon(attributes: dict[str, str]) -> Shape:
    corners = [tuple(map(float, corner.split(","))) for corner in attributes["points"].split()]

    def inside(x: float, y: float) -> bool:
        # Convex, and its corners go clockwise.
        return all((bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0 for (ax, ay), (bx, by) in pairwise([*corners, corners[0]]))

    return inside
