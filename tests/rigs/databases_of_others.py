"""Databases that a `sql` producer asks: PostgreSQL, MariaDB and SQLite with the same rows, reached as a definition reaches them.

A test file that uses them names this file in its `pytest_plugins`, and before it `tests.rigs.databases` and `tests.rigs.mariadb`.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notifier.allowed_files import AllowedFiles
from tests.rigs.asked import PASSWORD, WRITTEN, MariaDB, OnMariaDB, OnPostgreSQL, OnSQLite, psql
from tests.rigs.company_network import copy

_ROWS = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, owner VARCHAR(50), text VARCHAR(200), at {time}, amount NUMERIC(10,2));
INSERT INTO orders VALUES
    (1, 'alice', 'late by 2 days', '2026-11-23 09:00:00', 12.50),
    (2, NULL, 'late: 100%', '2026-11-23 10:00:00', NULL),
    (3, 'bob', 'it''s {late}', '2026-11-23 10:00:00', 3);
"""


@pytest.fixture(scope="session")
def postgresql_shop(postgresql_server: str) -> str:
    """The folder of PostgreSQL's socket; there is an empty database `shop`, and a user `asker` with a password."""
    file = Path(postgresql_server) / "data" / "pg_hba.conf"  # it trusts everybody else
    file.write_text("local all asker scram-sha-256\n" + file.read_text())
    psql(postgresql_server, "postgres", f"SELECT pg_reload_conf(); CREATE USER asker PASSWORD '{PASSWORD}';")
    psql(postgresql_server, "postgres", "CREATE DATABASE shop")
    psql(postgresql_server, "shop", "CREATE SCHEMA vault; CREATE TABLE vault.hidden (id INTEGER);")
    return postgresql_server


@pytest.fixture
def postgresql(postgresql_shop: str, tcp: "Relay") -> OnPostgreSQL:
    """A database of PostgreSQL, and a user that may read and write it."""
    rows = _ROWS.replace("{time}", "TIMESTAMP")
    psql(
        postgresql_shop,
        "shop",
        f"DROP TABLE IF EXISTS orders; {rows} GRANT ALL ON orders TO asker;",
    )
    url = f"postgresql+asyncpg://asker:{WRITTEN}@127.0.0.1:{tcp.port}/shop"
    return OnPostgreSQL("postgresql", url, folder=postgresql_shop, name="shop")


@pytest.fixture
def mariadb(mariadb_server: MariaDB) -> OnMariaDB:
    """A database of MariaDB, and a user that may read and write it."""
    rows = _ROWS.replace("{time}", "DATETIME")
    mariadb_server.tell(
        "CREATE OR REPLACE DATABASE vault; USE vault; CREATE TABLE hidden (id INTEGER);"
        f"CREATE OR REPLACE DATABASE shop; USE shop; {rows}"
        f"CREATE OR REPLACE USER asker@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON shop.* TO asker@'%';"
    )
    return OnMariaDB("mariadb", mariadb_server.url("asker", WRITTEN, "shop"), server=mariadb_server, name="shop")


@pytest.fixture
def sqlite(tmp_path: Path) -> OnSQLite:
    """A file of SQLite in an allowed folder."""
    folder = tmp_path / "reports"
    folder.mkdir()
    file = folder / "a ?#%.db"
    found = OnSQLite(
        "sqlite", f"sqlite:///{file}", AllowedFiles(folders=[folder], never=[tmp_path / "data"]), file=file
    )
    found.url = "sqlite:///" + str(file).replace("%", "%25").replace("?", "%3F").replace("#", "%23")
    found.tell(_ROWS.replace("{time}", "TIMESTAMP"))
    return found


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def asked(request: pytest.FixtureRequest) -> Any:
    """Each of them."""
    return request.getfixturevalue(request.param)


class Relay:
    """The server of PostgreSQL, which has a Unix socket alone, as an address on loopback."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # which cancels what is left
            runner.run(self._serve_all())

    async def _serve_all(self) -> None:
        async with await asyncio.start_server(self._serve, sock=self._listener):
            await self._end.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._target)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    def close(self) -> None:
        """Ends it."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


@pytest.fixture(scope="session")
def tcp(postgresql_server: str) -> Iterator[Relay]:
    """PostgreSQL on loopback."""
    relay = Relay(Path(postgresql_server) / ".s.PGSQL.5432")
    yield relay
    relay.close()
