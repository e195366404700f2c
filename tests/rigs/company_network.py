"""A company's network on loopback: an authority that no machine knows, a proxy, and a name whose address changes."""

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from notifier.record import now

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def forget_proxies(environment: pytest.MonkeyPatch) -> None:
    """No proxy of the person who runs the tests has a say."""
    for name in VARIABLES:
        environment.delenv(name, raising=False)
        environment.delenv(name.lower(), raising=False)


def make_authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """The certificate of a new authority, and the side of a server called localhost whose certificate is from it."""
    key, own_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example authority")])
    root = (
        _certificate(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    localhost = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    own = (
        _certificate(localhost, name, own_key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    authority, server = folder / "authority.pem", folder / "server.pem"
    authority.write_bytes(root.public_bytes(pem))
    private = own_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    server.write_bytes(private + own.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    return authority, context


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now() - timedelta(days=1)).not_valid_after(now() + timedelta(days=1))


def _usage(**given: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**(dict.fromkeys(names, False) | given))


class Proxy:
    """An HTTP proxy that takes one name and password, or anybody; it keeps the first line of each request."""

    def __init__(self, credentials: str | None) -> None:
        self.address = ""
        self.asked: list[str] = []
        self._wanted = None if credentials is None else base64.b64encode(credentials.encode()).decode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line = head.partition("\r\n")[0]
            self.asked.append(line)
            method, target, _ = line.split()
            if self._wanted is not None and f"Basic {self._wanted}" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            if method == "CONNECT":
                host, _, port = target.rpartition(":")
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                host, _, port = target.split("/")[2].partition(":")
            there, back = await asyncio.open_connection(host, int(port or 80))
            if method != "CONNECT":  # a server takes a whole address too
                back.write(head.encode())
            await asyncio.gather(copy(reader, back), copy(there, writer))
        finally:
            writer.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends on what comes, until it ends."""
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxying(credentials: str | None = None) -> AsyncIterator[Proxy]:
    """A proxy while the block runs."""
    proxy = Proxy(credentials)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()


class Names:
    """What names lead to, in place of the machine's own; other names are the machine's."""

    def __init__(self, environment: pytest.MonkeyPatch) -> None:
        self.addresses: dict[str, str] = {}
        self._resolve = socket.getaddrinfo
        environment.setattr(socket, "getaddrinfo", self._lead)

    def _lead(self, host: Any, *more: Any, **options: Any) -> Any:
        if isinstance(host, str) and host.endswith(
            ".invalid"
        ):  # as RFC 6761 has it, also where no server of names answers
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._resolve(self.addresses.get(host, host), *more, **options)
