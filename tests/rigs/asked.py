"""Databases that a `sql` producer asks, as its tests see them. The fixtures are `databases_of_others`'."""

import sqlite3
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from notifier import Context, JsonObject
from notifier.allowed_files import AllowedFiles
from producers.sql import Sql, SqlParameters
from tests.rigs.plugin_world import context_without_scripts

PASSWORD = "canary/p@ss"
WRITTEN = "canary%2Fp%40ss"


@dataclass(frozen=True)
class MariaDB:
    """A running server; its root signs in by the socket."""

    folder: Path
    port: int
    client: str

    def tell(self, statements: str) -> str:
        """Runs statements as root. Returns what they print."""
        command = [self.client, "--no-defaults", "--socket", str(self.folder / "socket"), "-u", "root", "-N", "-B"]
        return subprocess.run(command, input=statements, text=True, check=True, capture_output=True).stdout

    def url(self, user: str, password: str, name: str) -> str:
        """As a definition says it."""
        return f"mysql+aiomysql://{user}:{password}@127.0.0.1:{self.port}/{name}"


@dataclass
class Asked:
    """A database with the table `orders`, and what producers of it told."""

    kind: str
    url: str
    files: AllowedFiles = field(default_factory=AllowedFiles)
    notices: list[str] = field(default_factory=list)
    cursor: JsonObject | None = None

    def producer(self, query: str, **parameters: Any) -> Sql:
        """A producer of the query."""
        return Sql(SqlParameters.model_validate({"url": self.url, "query": query, **parameters}))

    def context(self) -> Context:
        """The context of a run, which keeps the cursor here."""
        plain = context_without_scripts("orders")
        return replace(plain, files=self.files, cursor=self.cursor, keep=self._keep, notice=self.notices.append)

    async def told(self, query: str, **parameters: Any) -> list[JsonObject]:
        """The messages of one run."""
        return await self.producer(query, **parameters).produce(self.context())

    def tell(self, statements: str) -> None:
        """Runs statements as the owner of the database."""
        raise NotImplementedError

    def _keep(self, state: JsonObject) -> None:
        self.cursor = state


@dataclass
class OnPostgreSQL(Asked):
    """Of PostgreSQL."""

    folder: str = ""
    name: str = ""

    def tell(self, statements: str) -> None:
        """By its own client."""
        psql(self.folder, self.name, statements)


@dataclass
class OnMariaDB(Asked):
    """Of MariaDB."""

    server: MariaDB | None = None
    name: str = ""

    def tell(self, statements: str) -> None:
        """By its own client."""
        assert self.server is not None
        self.server.tell(f"USE {self.name};{statements}")


@dataclass
class OnSQLite(Asked):
    """Of SQLite."""

    file: Path = Path()

    def tell(self, statements: str) -> None:
        """By Python's own module."""
        connection = sqlite3.connect(self.file)
        connection.executescript(statements)
        connection.close()


def psql(folder: str, name: str, statements: str) -> None:
    """Runs statements on PostgreSQL as its superuser."""
    command = [
        "psql",
        "-h",
        folder,
        "-U",
        "notifier",
        "-d",
        name,
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        "SET client_min_messages = warning",
        "-f",
        "-",
    ]
    subprocess.run(command, input=statements, text=True, check=True, stdout=subprocess.DEVNULL)
