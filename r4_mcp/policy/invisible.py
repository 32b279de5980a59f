"""Characters that show nothing: what could hide text from whoever reads it.

What this file does not do: look at texts; ``views`` does.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LAYOUT: Final = frozenset("\n\r\t")
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
_BLANK: Final = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2800, 0x2800),  # Braille blank
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors, which can carry hidden text
    (0xFFA0, 0xFFA0),  # half-width Hangul filler
    (0xE0100, 0xE01EF),  # variation selectors, supplement
)
"""Characters that show nothing although their category is a letter, mark or symbol: Default_Ignorable_Code_Point of Unicode's
DerivedCoreProperties.txt outside category C, and the Braille blank."""


def is_invisible(character: str) -> bool:
    """Say whether a character can't be seen, or is not assigned."""
    point = ord(character)
    return unicodedata.category(character) in _INVISIBLE or any(first <= point <= last for first, last in _BLANK)


def is_odd_space(character: str) -> bool:
    """Say whether a character is blank without being the plain space."""
    return character != " " and unicodedata.category(character) == "Zs"


def escaped(character: str) -> str:
    """Return a character so that it can be seen."""
    return f"\\u{{{ord(character):x}}}"


def visible(text: str) -> str:
    """Return a text of several lines so that all of it can be seen; its line breaks and tabs stay as they are."""
    return "".join(
        escaped(character) if is_invisible(character) and character not in _LAYOUT else character for character in text
    )


def unmistakable(text: str) -> str:
    """Return a text whose order and blanks are certain: what is written from right to left is escaped, and so are odd spaces."""
    if text.isascii():
        return text
    return "".join(
        escaped(character) if is_odd_space(character) or unicodedata.bidirectional(character) in _RIGHT_TO_LEFT else character
        for character in text
    )
