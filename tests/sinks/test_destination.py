"""Whether a URL lies where a website says: one table of yes, one of no, one of what is refused before it is compared."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.errors import DestinationRefusedError
from r4_mcp.sinks.destination import MAX_CANDIDATES, MAX_HOST, MAX_URL, cover, parse

ITEM: Final = "r4://Harbour/Crane"

COVERED: Final = (
    ("https://example.com", "https://example.com"),
    ("https://example.com", "https://example.com/any/path?query=1"),
    ("https://example.com/", "https://example.com/any"),
    ("example.com", "https://example.com/"),
    ("example.com/api", "https://example.com/api/v1"),
    ("https://EXAMPLE.com", "HTTPS://example.COM/"),
    ("https://example.com.", "https://example.com/"),
    ("https://example.com", "https://example.com./"),
    ("https://example.com:443", "https://example.com/"),
    ("https://example.com", "https://example.com:443/"),
    ("https://example.com", "https://example.com:00443/"),
    ("https://example.com:8443", "https://example.com:8443/"),
    ("https://bücher.example", "https://xn--bcher-kva.example/"),
    ("https://xn--bcher-kva.example", "https://BÜCHER.example/"),
    ("https://example.com", "https://\N{FULLWIDTH LATIN SMALL LETTER E}xample\N{IDEOGRAPHIC FULL STOP}com/"),
    ("https://example.com/api", "https://example.com/api"),
    ("https://example.com/api/", "https://example.com/api"),
    ("https://example.com/api", "https://example.com/api/v1/things?x=/../"),
    ("https://example.com/api?next=/home#top", "https://example.com/api/v1"),
    ("https://*.example.com", "https://a.example.com/"),
    ("*.example.com", "https://a.b.example.com/"),
    ("https://*.example.com/api", "https://a.example.com/api/v1"),
    ("https://example.com", "https://example.com/group%2Fproject"),
    ("https://192.0.2.7", "https://192.0.2.7/"),
    ("https://[2001:DB8::7]", "https://[2001:db8:0:0::7]/"),
    ("http://localhost:8080", "http://localhost:8080/"),
    ("http://127.0.0.1", "http://127.0.0.1:80/"),
    ("http://[::1]:8080", "http://[::1]:8080/"),
    ("https://localhost", "https://localhost/"),
)

NOT_COVERED: Final = (
    ("https://example.com", "https://example.org/"),
    ("https://example.com", "https://www.example.com/"),
    ("https://www.example.com", "https://example.com/"),
    ("https://example.com", "https://example.com.evil.example/"),
    ("https://example.com", "https://evilexample.com/"),
    ("https://example.com", "https://example.com:8443/"),
    ("https://example.com:8443", "https://example.com/"),
    ("https://localhost", "http://localhost/"),
    ("http://localhost:443", "https://localhost/"),
    # A Cyrillic letter, a Greek one, a dotless i: other A-labels.
    ("https://apple.com", "https://\N{CYRILLIC SMALL LETTER A}pple.com/"),
    ("https://google.com", "https://g\N{GREEK SMALL LETTER OMICRON}ogle.com/"),
    ("https://github.com", "https://g\N{LATIN SMALL LETTER DOTLESS I}thub.com/"),
    ("https://strasse.example", "https://straße.example/"),
    ("https://example.com/api", "https://example.com/"),
    ("https://example.com/api", "https://example.com/apis"),
    ("https://example.com/api", "https://example.com/API"),
    ("https://example.com/api", "https://example.com//api"),
    ("https://example.com/api", "https://example.com/%61pi"),
    ("https://example.com/api", "https://example.com/api;x/v1"),
    ("https://example.com/api", "https://example.com/api/a%2Fb"),
    ("https://example.com/api", "https://example.com/api/a%5cb"),
    ("https://example.com/api", "https://example.com/api/a%252Fb"),
    ("https://*.example.com", "https://example.com/"),
    ("https://*.example.com", "https://evilexample.com/"),
    ("https://*.com", "https://example.com/"),
    ("https://*", "https://example.com/"),
    ("https://*example.com", "https://anexample.com/"),
    ("https://a.*.example.com", "https://a.b.example.com/"),
    ("https://*.0.2.7", "https://192.0.2.7/"),
    ("https://*.[::1]", "https://[::1]/"),
    ("https://2.7", "https://192.0.2.7/"),
    ("https://192.0.2.7", "https://192.0.2.8/"),
    ("https://[::ffff:192.0.2.7]", "https://192.0.2.7/"),
    ("http://example.com", "https://example.com/"),
    ("https://someone@example.com", "https://example.com/"),
    ("https://example.com/api/..", "https://example.com/api"),
    ("ftp://example.com", "https://example.com/"),
    ("my bank, the one at the corner", "https://example.com/"),
    ("", "https://example.com/"),
    ("https://", "https://example.com/"),
)

REFUSED: Final = (
    "",
    "/relative",
    "//example.com/",
    "example.com/",
    "https:example.com",
    "https:/example.com",
    "https:///path",
    "http://example.com/",
    "http://10.0.0.1/",
    "http://localhost.example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "javascript://example.com/",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com@evil.example/",
    "https://@example.com/",
    "https://example.com\\@evil.example/",
    "https://example.com/#fragment",
    "https://example.com#@evil.example/",
    " https://example.com/",
    "https://example.com/ ",
    "https://exa mple.com/",
    "https://example.com/a b",
    "https://example.com/\r\nHost: evil.example",
    "https://example.com/\n",
    "https://example.com/\x00",
    "https://example.com/é",
    "https://example.com/a\\b",
    "https://example.com/{{r4://v/i/f}}",
    "https://example.com/?q={{r4://v/i/f}}",
    "https://example.com/%",
    "https://example.com/%zz",
    "https://example.com/?%2",
    "https://example.com:/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:+443/",
    "https://example.com:44 3/",
    "https://example.com:443:443/",
    "https://example.com:\N{ARABIC-INDIC DIGIT FOUR}/",
    "https://example..com/",
    "https://.example.com/",
    "https://example.com../",
    "https://ex%61mple.com/",
    "https://exa_mple.com/",
    "https://-example.com/",
    "https://*.example.com/",
    "https://xn--zzzzz-invalid-/",
    "https://xn--a.com/",
    "https://exam\N{ZERO WIDTH JOINER}ple.com/",
    "https://\N{RIGHT-TO-LEFT OVERRIDE}example.com/",
    "https://\ud800.com/",
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * MAX_HOST + "com/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.1.1/",
    "https://256.0.0.1/",
    "https://example.1/",
    "https://127\N{IDEOGRAPHIC FULL STOP}0\N{IDEOGRAPHIC FULL STOP}0\N{IDEOGRAPHIC FULL STOP}1/",
    "https://\N{CIRCLED DIGIT ONE}27.0.0.1/",
    "https://[::1/",
    "https://::1/",
    "https://[127.0.0.1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[::1]x/",
    "https://example.com/api/../admin",
    "https://example.com/api/./v1",
    "https://example.com/api/..",
    "https://example.com/api/%2e%2e/admin",
    "https://example.com/api/.%2E/admin",
    "https://example.com/api/%252e%252e/admin",
    "https://example.com/api/..;/admin",
    "https://example.com/api/..%2fadmin",
    "https://example.com/api/..%5cadmin",
    "https://example.com/api/%2e%2e%2fadmin",
    "https://example.com/api/x%2f..%2fadmin",
    "https://example.com/" + "a" * MAX_URL,
)


@pytest.mark.parametrize(("website", "url"), COVERED)
def test_a_website_covers_its_own_place(website: str, url: str) -> None:
    """And the proof names the website that did."""
    destination = parse(url, loopback_http=True)
    covered = cover(destination, ITEM, ["https://other.example", website])
    assert covered.destination is destination
    assert covered.website != "https://other.example/"


@pytest.mark.parametrize(("website", "url"), NOT_COVERED)
def test_a_website_covers_no_other_place(website: str, url: str) -> None:
    """Nothing is widened by likeness, by a missing part or by another spelling."""
    with pytest.raises(DestinationRefusedError):
        cover(parse(url, loopback_http=True), ITEM, [website])


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_with_two_meanings_is_refused(url: str) -> None:
    """Before anything is compared; and no part of it is quoted, since it may hold a secret."""
    with pytest.raises(DestinationRefusedError) as caught:
        parse(url, loopback_http=True)
    assert len(url) < 12 or url not in caught.value.message
    assert "evil" not in caught.value.message


def test_http_is_refused_unless_it_is_told() -> None:
    """Loopback or not."""
    with pytest.raises(DestinationRefusedError):
        parse("http://127.0.0.1/")


def test_no_website_covers_nothing() -> None:
    """An item that an agent made starts with none."""
    with pytest.raises(DestinationRefusedError):
        cover(parse("https://example.com"), ITEM, [])


def test_a_refusal_says_what_is_covered_and_how_to_add_more() -> None:
    """Only websites that could cover something are listed, and not without end."""
    websites = ["a bank", "example.com/api", "*.example.org:8443", *(f"host{number}.example" for number in range(100))]
    with pytest.raises(DestinationRefusedError) as caught:
        cover(parse("https://example.net"), ITEM, websites)
    assert caught.value.candidates[:3] == ("https://example.com/api", "https://*.example.org:8443/", "https://host0.example/")
    assert len(caught.value.candidates) == MAX_CANDIDATES
    assert f"r4-mcp bind {ITEM} URL" in str(caught.value.next_step)


def test_the_parts_of_a_destination_are_what_is_sent() -> None:
    """The authority has brackets and the port only where they belong."""
    assert parse("https://EXAMPLE.com.:443?a=b").authority == "example.com"
    assert parse("https://example.com:8443/x").authority == "example.com:8443"
    assert parse("https://[0:0::1]:8443/x").authority == "[::1]:8443"
    found = parse("https://BÜCHER.example/a%20b?c=d&e")
    assert (found.scheme, found.host, found.port, found.path, found.query) == (
        "https",
        "xn--bcher-kva.example",
        443,
        "/a%20b",
        "c=d&e",
    )


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_parsed_or_refused(left: str, right: str) -> None:
    """No input breaks the parser, and what it accepts is its own covering website."""
    for url in (left, f"https://{left}", f"https://{left}/{right}", f"https://example.com/{left}?{right}"):
        try:
            destination = parse(url)
        except DestinationRefusedError:
            continue
        again = f"https://{destination.authority}{destination.path}"
        if "%2f" not in destination.path.lower() and "%5c" not in destination.path.lower():
            assert cover(destination, ITEM, [again]).destination == destination
        assert parse(again).host == destination.host
