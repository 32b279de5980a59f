"""Where a request goes: names that change, addresses that are not public, certificates, proxies, and the deadline."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from r4_mcp.errors import AddressRefusedError, DeadlineExceededError, UnreachableError
from r4_mcp.sinks.http import HttpSink
from r4_mcp.sinks.request import BearerAuth

from .services import SLOT, Received, dripping, send, serving, text_of, whole
from .values import PLAIN, REFERENCE

VALUES: Final = {REFERENCE: PLAIN}
AUTH: Final = BearerAuth(SLOT)
LOOPBACK: Final = [ip_network("127.0.0.0/8")]
NAME: Final = "service.example"


@dataclass
class Names:
    """A resolver that answers differently each time, as a hostile zone does."""

    answers: list[Sequence[str]]
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Give the next answer, and the last one for ever."""
        assert port
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@dataclass(frozen=True)
class Certificates:
    """An authority, and a server's certificate that it signed for one name."""

    client: ssl.SSLContext
    server: ssl.SSLContext


def certificates(folder: Path, name: str) -> Certificates:
    """Make an authority and a certificate."""
    today = dt.datetime.now(dt.UTC)

    def builder(common_name: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Harbour Authority")]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - dt.timedelta(days=1))
            .not_valid_after(today + dt.timedelta(days=1))
        )

    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = builder("Harbour Authority", authority.public_key())
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    leaf = builder(name, key.public_key())
    leaf = leaf.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    (folder / "root.pem").write_bytes(root.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (folder / "leaf.pem").write_bytes(
        leaf.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "leaf.pem")
    return Certificates(ssl.create_default_context(cafile=folder / "root.pem"), server)


async def test_https_checks_the_certificate_against_the_name(tmp_path: Path) -> None:
    """The address is dialled; the name is what TLS asks for, what the certificate is for, and what Host says."""
    asked: list[str | None] = []
    made = certificates(tmp_path, NAME)
    made.server.sni_callback = lambda _socket, name, _context: asked.append(name)
    names = Names([["127.0.0.1"]])
    async with serving(whole(b"welcome"), made.server) as service:
        sink = HttpSink(LOOPBACK, resolve=names.resolve, tls=made.client)
        answer = await send(f"https://{NAME.upper()}.:{service.port}/", VALUES, auth=AUTH, sink=sink)
    assert text_of(answer) == "welcome"
    assert (asked, names.asked) == ([NAME], [NAME])
    assert service.received[0].headers["host"] == f"{NAME}:{service.port}"


async def test_a_certificate_for_another_name_ends_it(tmp_path: Path) -> None:
    """Before a byte of the request is sent."""
    made = certificates(tmp_path, "other.example")
    async with serving(whole(b"welcome"), made.server) as service:
        sink = HttpSink(LOOPBACK, resolve=Names([["127.0.0.1"]]).resolve, tls=made.client)
        with pytest.raises(UnreachableError, match="certificate"):
            await send(f"https://{NAME}:{service.port}/", VALUES, auth=AUTH, sink=sink)
    assert service.received == []


async def test_an_unknown_authority_ends_it(tmp_path: Path) -> None:
    """By default, the public authorities count and no others."""
    made = certificates(tmp_path, NAME)
    async with serving(whole(b"welcome"), made.server) as service:
        sink = HttpSink(LOOPBACK, resolve=Names([["127.0.0.1"]]).resolve)
        with pytest.raises(UnreachableError, match="certificate"):
            await send(f"https://{NAME}:{service.port}/", VALUES, auth=AUTH, sink=sink)
    assert service.received == []


async def test_a_broken_record_of_tls_shows_nothing(tmp_path: Path) -> None:
    """In the middle of an answer, past the handshake."""

    async def reply(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        await writer.drain()
        os.write(writer.get_extra_info("socket").fileno(), b"\x17\x03\x03\x00\x20" + PLAIN.encode() * 2)
        await asyncio.sleep(0.1)

    made = certificates(tmp_path, NAME)
    async with serving(reply, made.server) as service:
        sink = HttpSink(LOOPBACK, resolve=Names([["127.0.0.1"]]).resolve, tls=made.client)
        with pytest.raises(UnreachableError, match="broke"):
            await send(f"https://{NAME}:{service.port}/", VALUES, auth=AUTH, sink=sink)


async def test_a_name_that_means_something_else_the_second_time(tmp_path: Path) -> None:
    """The resolver is asked once: whatever it would say next is not dialled, though the screened address is dead."""
    made = certificates(tmp_path, NAME)
    names = Names([["127.0.0.2"], ["127.0.0.1"]])
    async with serving(whole(b"welcome"), made.server) as service:
        sink = HttpSink([ip_network("127.0.0.2/32")], resolve=names.resolve, tls=made.client)
        with pytest.raises(UnreachableError):
            await send(f"https://{NAME}:{service.port}/", VALUES, auth=AUTH, sink=sink)
        assert names.asked == [NAME]
        with pytest.raises(AddressRefusedError):
            await send(f"https://{NAME}:{service.port}/", VALUES, auth=AUTH, sink=sink)
    assert service.received == []


async def test_the_next_address_is_dialled_where_the_first_is_dead() -> None:
    """Both were screened."""
    names = Names([["127.0.0.2", "127.0.0.1"]])
    async with serving(whole(b"welcome")) as service:
        answer = await send(f"http://localhost:{service.port}/", VALUES, auth=AUTH, sink=HttpSink(resolve=names.resolve))
    assert text_of(answer) == "welcome"


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["100.100.100.200"],
        ["fd00:ec2::254"],
        ["fe80::1%1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["::ffff:a9fe:a9fe"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::1"],
        ["0.0.0.0"],  # noqa: S104 - refused, not bound
        ["1.1.1.1", "127.0.0.1"],
        [],
    ],
)
async def test_a_public_name_of_a_private_address_is_refused(answer: Sequence[str]) -> None:
    """Nothing is dialled."""
    async with serving(whole(b"welcome")) as service:
        with pytest.raises(AddressRefusedError):
            await send(f"https://{NAME}:{service.port}/", VALUES, auth=AUTH, sink=HttpSink(resolve=Names([answer]).resolve))
    assert service.received == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "10.0.0.1", "169.254.169.254", "[fd00:ec2::254]"]
)
async def test_an_address_in_the_url_is_screened_too(host: str) -> None:
    """Its own website covers it, and yet it is not dialled unless the operator lists it."""
    with pytest.raises(AddressRefusedError):
        await send(f"https://{host}/", VALUES, auth=AUTH, sink=HttpSink(resolve=Names([]).resolve))


async def test_localhost_that_leads_elsewhere_is_refused() -> None:
    """Plain http is for loopback, by its address and not by its name; a listed network changes nothing."""
    for answer in (["10.0.0.1"], ["1.1.1.1"], ["127.0.0.1", "10.0.0.1"]):
        sink = HttpSink([ip_network("10.0.0.0/8")], resolve=Names([answer]).resolve)
        with pytest.raises(AddressRefusedError):
            await send("http://localhost:8080/", VALUES, auth=AUTH, sink=sink)


async def test_ipv6_loopback() -> None:
    """An address in brackets, dialled as it is."""
    try:
        async with serving(whole(b"welcome"), host="::1") as service:
            answer = await send(f"http://[::1]:{service.port}/", VALUES, auth=AUTH)
    except OSError:
        pytest.skip("no IPv6 here")
    assert text_of(answer) == "welcome"
    assert service.received[0].headers["host"] == f"[::1]:{service.port}"


async def test_the_system_s_resolver_is_the_default() -> None:
    """For the one name that every system knows."""
    async with serving(whole(b"welcome")) as service:
        answer = await send(f"http://localhost:{service.port}/", VALUES, auth=AUTH)
    assert text_of(answer) == "welcome"


async def test_a_name_that_does_not_resolve() -> None:
    """The resolver's own error stays behind."""

    async def nobody(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, f"{host}:{port}")

    with pytest.raises(UnreachableError, match="resolve") as caught:
        await send(f"https://{NAME}/", VALUES, auth=AUTH, sink=HttpSink(resolve=nobody))
    assert caught.value.__suppress_context__


async def test_nobody_listens() -> None:
    """One sentence, and no cause that quotes the request."""
    async with serving(whole()) as service:
        pass
    with pytest.raises(UnreachableError, match="no connection") as caught:
        await send(service.base_url, VALUES, auth=AUTH)
    assert caught.value.__suppress_context__


async def test_the_environment_takes_no_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy sees the request, no file takes the keys of the connection, no other authority counts."""
    made = certificates(tmp_path, NAME)
    async with serving(whole(b"proxy")) as proxy, serving(whole(b"welcome"), made.server) as service:
        for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(variable, proxy.base_url)
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
        sink = HttpSink(LOOPBACK, resolve=Names([["127.0.0.1"]]).resolve)
        with pytest.raises(UnreachableError, match="certificate"):
            await send(f"https://{NAME}:{service.port}/", VALUES, auth=AUTH, sink=sink)
        async with serving(whole(b"welcome")) as plain:
            assert text_of(await send(plain.base_url, VALUES, auth=AUTH)) == "welcome"
    assert (proxy.received, service.received) == ([], [])
    # Python makes the file when it makes the context, before we can say no; it holds a heading and no keys.
    assert b"SECRET" not in (tmp_path / "keys.log").read_bytes()


async def test_the_deadline_is_one_for_everything() -> None:
    """A service that drips, one that never answers, a resolver that never does."""

    async def silent(_: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)
        writer.close()

    async def endless(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\n.\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def nobody(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return [host, str(port)]

    started = time.monotonic()
    for reply in (silent, endless):
        async with serving(reply) as service:
            with pytest.raises(DeadlineExceededError, match=r"0\.3 seconds"):
                await send(service.base_url, VALUES, auth=AUTH, sink=HttpSink(seconds=0.3))
    with pytest.raises(DeadlineExceededError):
        await send(f"https://{NAME}/", VALUES, auth=AUTH, sink=HttpSink(resolve=nobody, seconds=0.3))
    assert time.monotonic() - started < 10


async def test_an_endless_body_is_read_to_its_cap() -> None:
    """And then the connection is closed, long before the deadline."""
    async with serving(dripping(b"." * 50_000_000, 60_000)) as service:
        answer = await send(service.base_url, VALUES, auth=AUTH)
    assert set(text_of(answer)) == {"."}


async def test_twenty_requests_at_once() -> None:
    """Each has its own connection, and its own value in its own answer."""
    async with serving(whole(f"hello {PLAIN}".encode())) as service:
        sink = HttpSink()
        answers = await asyncio.gather(*(send(service.base_url, VALUES, auth=AUTH, sink=sink) for _ in range(20)))
    assert len(service.received) == 20
    assert all(PLAIN not in repr(answer) for answer in answers)
