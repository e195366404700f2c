"""A SOCKS5 proxy on loopback (RFC 1928, RFC 1929) that takes one name and password, or anybody."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.rigs.company_network import copy


class Socks:
    """The proxy; it keeps what it was asked to connect to."""

    def __init__(self, credentials: str | None) -> None:
        self.address = ""
        self.asked: list[str] = []
        self._credentials = credentials

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _, count = await reader.readexactly(2)
            methods = await reader.readexactly(count)
            wanted = 0 if self._credentials is None else 2
            if wanted not in methods:
                writer.write(b"\x05\xff")
                return
            writer.write(bytes((5, wanted)))
            if self._credentials is not None:
                await reader.readexactly(1)
                name = await reader.readexactly((await reader.readexactly(1))[0])
                password = await reader.readexactly((await reader.readexactly(1))[0])
                right = f"{name.decode()}:{password.decode()}" == self._credentials
                writer.write(bytes((1, 0 if right else 1)))
                if not right:
                    return
            _, _, _, kind = await reader.readexactly(4)
            if kind == 1:
                host = socket.inet_ntop(socket.AF_INET, await reader.readexactly(4))
            elif kind == 4:
                host = socket.inet_ntop(socket.AF_INET6, await reader.readexactly(16))
            else:
                host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
            port = int.from_bytes(await reader.readexactly(2))
            self.asked.append(f"{host}:{port}")
            try:
                there, back = await asyncio.open_connection(host, port)
            except OSError:
                writer.write(b"\x05\x05\x00\x01" + bytes(6))  # connection refused
                return
            writer.write(b"\x05\x00\x00\x01" + bytes(6))
            await asyncio.gather(copy(reader, back), copy(there, writer))
        finally:
            writer.close()


@asynccontextmanager
async def socks(credentials: str | None = None) -> AsyncIterator[Socks]:
    """A proxy while the block runs."""
    proxy = Socks(credentials)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
