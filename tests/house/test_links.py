"""A link of a document that stays in this repository leads somewhere."""

from __future__ import annotations

import re

import pytest

from .shell_lines import DOCUMENTS, REPOSITORY

LINK = re.compile(r"\]\(([^)\s]+)\)")


def headings(document: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    told = re.findall(r"^#+ (.+)$", (REPOSITORY / document).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in told}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_link_leads_somewhere(document: str) -> None:
    """To a file or folder beside the document, or to one of its own headings."""
    for target in LINK.findall((REPOSITORY / document).read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        assert ((REPOSITORY / document).parent / path).exists(), target
        if anchor:
            assert not path, f"{target}: a heading of another document may be renamed unseen"
            assert anchor in headings(document), target


def test_there_are_links() -> None:
    """The pattern above finds what it looks for."""
    found = [target for document in DOCUMENTS for target in LINK.findall((REPOSITORY / document).read_text())]
    assert "manifests/trust.svg" in found
    assert "#what-is-verified" in found
