"""What keeps a SQL producer from harm: addresses, files, TLS, and servers that are none of the operator's."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from control_api.registry import load_registry
from notifier import Permanent, Retryable
from notifier.allowed_files import AllowedFiles
from notifier.catalog import Catalog
from notifier.network import Network
from producers.sql import Sql, SqlParameters
from producers.sql.mysql import MAX_BYTES
from streams.runner.producing import Asked, Producing
from tests.rigs.asked import PASSWORD, MariaDB, OnMariaDB, OnPostgreSQL, OnSQLite
from tests.rigs.company_network import make_authority
from tests.rigs.plugin_world import context_without_scripts

pytest_plugins = ["tests.rigs.databases", "tests.rigs.mariadb", "tests.rigs.databases_of_others"]

_CONNECT_WITH_DB, _PROTOCOL_41, _SECURE, _PLUGIN_AUTH = 8, 512, 32768, 1 << 19


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_private_addresses_are_not_asked(kind: str) -> None:
    producer = Sql(SqlParameters.model_validate({"url": f"{kind}://u:p@127.0.0.1:1/x", "query": "SELECT 1"}))
    with pytest.raises(Permanent, match="public address") as refused:
        await producer.produce(replace(context_without_scripts("orders"), network=Network()))
    assert refused.value.reason == "forbidden"


async def test_a_file_is_only_read(sqlite: OnSQLite, tmp_path: Path) -> None:
    before = sqlite.file.read_bytes()
    for query in (
        "SELECT load_extension('x')",
        "SELECT writefile('/tmp/x', 'y')",
        "WITH a AS (SELECT 1) INSERT INTO orders SELECT 4, '', '', '', 1",
    ):
        with pytest.raises(Permanent):
            await sqlite.told(query)
    assert sqlite.file.read_bytes() == before
    assert [path.name for path in sqlite.file.parent.iterdir()] == [sqlite.file.name]
    sqlite.files = AllowedFiles(folders=[tmp_path / "others"])
    with pytest.raises(Permanent, match="NOTIFIER_SQLITE_FOLDERS") as refused:
        await sqlite.told("SELECT * FROM orders")
    assert refused.value.reason == "forbidden"


@pytest.mark.parametrize(
    "content", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 500], ids=["empty", "text", "broken"]
)
async def test_a_file_that_is_no_database(sqlite: OnSQLite, content: bytes) -> None:
    sqlite.file.write_bytes(content)
    with pytest.raises((Permanent, Retryable), match="the database"):
        await sqlite.told("SELECT * FROM orders")


async def test_a_value_that_is_too_long_costs_the_run_and_not_the_memory(sqlite: OnSQLite) -> None:
    with pytest.raises(Permanent, match="too big") as refused:
        await sqlite.told("SELECT hex(zeroblob(900000000))")
    assert refused.value.reason == "invalid_content"


async def test_a_file_in_write_ahead_mode_that_somebody_writes(sqlite: OnSQLite) -> None:
    sqlite.tell("PRAGMA journal_mode = WAL; INSERT INTO orders VALUES (4, 'zoe', 'new', NULL, 1)")
    assert len(await sqlite.told("SELECT * FROM orders")) == 4


async def test_certificates_are_checked_against_an_authority(
    mariadb: OnMariaDB, mariadb_server: MariaDB, tmp_path: Path
) -> None:
    mariadb.url = mariadb.url.replace("127.0.0.1", "localhost")
    authority = (mariadb_server.folder / "tls" / "authority.pem").read_text()
    query = "SHOW SESSION STATUS LIKE 'Ssl_version'"
    (one,) = await mariadb.told(query, authority=authority)
    assert "TLSv1" in one["content"]
    (one,) = await mariadb.told(query, tls="require")
    assert "TLSv1" in one["content"]
    make_authority(tmp_path)
    for more in ({"authority": (tmp_path / "authority.pem").read_text()}, {"tls": "verify"}):
        with pytest.raises(Retryable, match="certificate") as refused:
            await mariadb.told(query, **more)
        assert refused.value.reason == "connection"
    mariadb.url = mariadb.url.replace("localhost", "127.0.0.1")  # for which the certificate is not
    with pytest.raises(Retryable, match="certificate"):
        await mariadb.told(query, authority=authority)


class Impostor:
    """What says that it is MySQL: it greets, asks for what it likes, and keeps what it is sent."""

    def __init__(self, plugin: bytes, answers: list[bytes]) -> None:
        self.port = 0
        self.sent = b""
        self._plugin = plugin
        self._answers = answers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(_packet(0, self._greeting()))
            number = 2
            for answer in self._answers:
                head = await reader.readexactly(4)
                self.sent += await reader.readexactly(int.from_bytes(head[:3], "little"))
                writer.write(_packet(number, answer))
                number = number + 2 if answer[:1] == b"\xfe" else 1
                await writer.drain()
            self.sent += await reader.read(65_536)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _greeting(self) -> bytes:
        flags = _CONNECT_WITH_DB | _PROTOCOL_41 | _SECURE | _PLUGIN_AUTH
        head = b"\x0a5.7.0\0" + struct.pack("<I", 1) + b"s" * 8 + b"\0" + struct.pack("<H", flags & 0xFFFF)
        return (
            head + struct.pack("<BHHB", 45, 2, flags >> 16, 21) + b"\0" * 10 + b"s" * 12 + b"\0" + self._plugin + b"\0"
        )


def _packet(number: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "little") + bytes([number % 256]) + content


@asynccontextmanager
async def _posing(impostor: Impostor) -> AsyncIterator[Impostor]:
    server = await asyncio.start_server(impostor.serve, "127.0.0.1", 0)
    impostor.port = server.sockets[0].getsockname()[1]
    try:
        yield impostor
    finally:
        server.close()


async def _ask(impostor: Impostor, **more: str) -> None:
    url = f"mysql://asker:{PASSWORD.replace('/', '%2F').replace('@', '%40')}@127.0.0.1:{impostor.port}/shop"
    await Sql(SqlParameters.model_validate({"url": url, "query": "SELECT 1", **more})).produce(
        context_without_scripts("x")
    )


_OK = b"\0\0\0\x02\0\0\0"


@pytest.mark.parametrize(
    ("plugin", "answers"),
    [
        (b"mysql_clear_password", [_OK]),
        (b"mysql_native_password", [b"\xfemysql_clear_password\0"]),
        (b"mysql_native_password", [_OK, b"\xfb/etc/passwd"]),
    ],
    ids=["a password in clear", "another way to sign in", "a file"],
)
async def test_a_server_gets_no_password_in_clear_and_no_file(plugin: bytes, answers: list[bytes]) -> None:
    async with _posing(Impostor(plugin, answers)) as impostor:
        with pytest.raises((Permanent, Retryable)):
            await _ask(impostor)
    assert b"asker" in impostor.sent
    assert PASSWORD.encode() not in impostor.sent
    assert b"root:" not in impostor.sent


@pytest.mark.parametrize("tls", ["require", "verify"])
async def test_nothing_is_said_to_a_server_without_tls_where_it_has_to_be(tls: str) -> None:
    async with _posing(Impostor(b"mysql_native_password", [_OK])) as impostor:
        with pytest.raises(Retryable, match="no TLS") as refused:
            await _ask(impostor, tls=tls)
    assert refused.value.reason == "connection"
    assert impostor.sent == b""


async def test_a_server_that_sends_without_end_is_left(mariadb: OnMariaDB) -> None:
    rows = MAX_BYTES // 1_000_000 + 10
    with pytest.raises(Permanent, match="more than 64,000,000 bytes") as refused:
        await mariadb.told(
            f"SELECT seq AS id, repeat('x', 1000000) AS other FROM seq_1_to_{rows}",
            texts={"content": "{id}"},
            limit=rows,
        )
    assert refused.value.reason == "invalid_content"


async def test_rows_that_are_too_long_together_are_not_kept(
    postgresql: OnPostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.sql.postgresql.MAX_BYTES", 2_000_000)
    query = "SELECT id, repeat('x', {size}) AS other FROM generate_series(1, {rows}) AS id"
    with pytest.raises(Permanent, match="more than 2,000,000 bytes") as refused:
        await postgresql.told(query.format(size=300_000, rows=20), texts={"content": "{id}"})
    assert refused.value.reason == "invalid_content"
    # What counts is what comes at a time.
    assert len(await postgresql.told(query.format(size=10_000, rows=500), texts={"content": "{id}"})) == 500


async def test_the_runner_asks_it_and_says_that_it_was_cut(sqlite: OnSQLite) -> None:
    producer = sqlite.producer("SELECT id, text FROM orders", limit=2, cursor_column="id")
    catalog = Catalog(registry=load_registry(), producers={"orders": producer})
    context = sqlite.context()
    producing = Producing(context.sandbox, catalog, {}, files=sqlite.files)
    given = await producing.ask("orders")
    assert (len(given.items), given.error) == (2, None)
    assert given.notice == (
        "cut: there are more rows than the limit of 2; the first 2 are told, and the next run goes on behind them"
    )
    last = await producing.ask("orders", Asked(cursor=given.state))
    assert (len(last.items), last.error, last.notice) == (1, None, None)
    await producing.close()
    closed = Producing(context.sandbox, catalog, {})
    assert "NOTIFIER_SQLITE_FOLDERS" in str((await closed.ask("orders")).error)
    await closed.close()
