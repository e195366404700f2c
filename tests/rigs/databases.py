"""Databases for tests: a PostgreSQL server of the test session's own, and the fixture `database_settings` over both kinds.

PostgreSQL comes from PATH or Debian's folder and runs on a Unix socket in a temporary directory, as another user when the
tests run as root, since it refuses root. Without it the tests that need it are skipped; on CI (`CI` is set) they fail.
A test file that uses them says `pytest_plugins = ["tests.rigs.databases"]`.
"""

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from control_api.migrate import upgrade, upgrade_database
from notifier.database import SQLITE_FILE, Database
from notifier.seal import generate_key
from notifier.settings import Settings, load_settings
from tests.rigs.kafka_tools import WAIT_S

_USERS = ("postgres", "nobody")  # who may run the server where the tests run as root

_OPTIONS = ("listen_addresses=", "fsync=off", "max_connections=60", "shared_buffers=16MB", "log_min_messages=fatal")


def _program(name: str) -> str | None:
    found = shutil.which(name)
    if found is not None:
        return found
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return next((str(folder / name) for folder in reversed(folders) if (folder / name).exists()), None)


def _other_user() -> str | None:
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return None


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The folder of the socket of a running PostgreSQL whose superuser is `notifier`."""
    initdb, postgres = _program("initdb"), _program("postgres")
    user = _other_user()
    if initdb is None or postgres is None or (os.geteuid() == 0 and user is None):
        text = "PostgreSQL's initdb and postgres are neither on PATH nor in /usr/lib/postgresql/*/bin"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    with tempfile.TemporaryDirectory(
        prefix="notifier-pg-", dir="/tmp"
    ) as folder:  # short: a socket's path has 107 bytes
        data = Path(folder) / "data"
        if user is not None:
            shutil.chown(folder, user)
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        subprocess.run(
            [initdb, "-D", str(data), "-U", "notifier", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user,
            cwd=folder,
            env=environment,
        )
        server = subprocess.Popen(
            [postgres, "-D", str(data), "-k", folder, *(part for option in _OPTIONS for part in ("-c", option))],
            user=user,
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_stop_with_parent if sys.platform == "linux" else None,
        )
        try:
            _wait(folder, server, Path(postgres).resolve().with_name("pg_isready"))
            yield folder
        finally:
            server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown; SIGTERM would wait for clients
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _stop_with_parent() -> None:
    """Has the kernel send SIGINT to this process when the tests die, however they do."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG


def _wait(folder: str, server: subprocess.Popen[bytes], pg_isready: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while subprocess.run([str(pg_isready), "-q", "-h", folder, "-U", "notifier"]).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline:
            pytest.fail("PostgreSQL does not start")
        time.sleep(0.05)


def _administer(folder: str, program: str, *arguments: str) -> None:
    path = _program(program)
    assert path is not None, f"PostgreSQL's {program} is not beside its initdb"
    subprocess.run([path, "-h", folder, "-U", "notifier", *arguments], check=True, stdout=subprocess.DEVNULL)


def _url(folder: str, name: str) -> str:
    return f"postgresql+asyncpg://notifier@/{name}?host={folder}"


@contextmanager
def _database(folder: str, *options: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    _administer(folder, "createdb", *options, name)
    yield _url(folder, name)
    _administer(folder, "dropdb", "--force", name)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty database on PostgreSQL, dropped afterwards."""
    with _database(postgresql_server) as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> str:
    """The name of a database that is upgraded and otherwise empty, to be copied."""
    _administer(postgresql_server, "createdb", "upgraded")
    _upgrade(load_settings(env_file=None, database_url=_url(postgresql_server, "upgraded")))
    return "upgraded"


@pytest.fixture
def upgraded_postgresql_url(postgresql_server: str, postgresql_template: str) -> Iterator[str]:
    """The URL of an upgraded database on PostgreSQL, dropped afterwards."""
    with _database(postgresql_server, "-T", postgresql_template) as url:
        yield url


@pytest.fixture(scope="session")
def upgraded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded SQLite database, to be copied."""
    folder = tmp_path_factory.mktemp("upgraded")
    _upgrade(load_settings(env_file=None, data_dir=folder, database_url=None))
    return folder / SQLITE_FILE


def _upgrade(settings: Settings) -> None:
    with ThreadPoolExecutor(1) as thread:  # the event loop of this thread is the tests'
        thread.submit(lambda: asyncio.run(upgrade(settings))).result()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """The test's `settings` on each kind of database, which is empty."""
    if request.param == "sqlite":
        return settings
    return settings.model_copy(update={"database_url": request.getfixturevalue("postgresql_url")})


@pytest.fixture
async def database(database_settings: Settings) -> AsyncIterator[Database]:
    """The database of `database_settings`, upgraded."""
    database = Database(database_settings)
    await upgrade_database(database)
    yield database
    await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings on each kind of database, upgraded, for tests that need no broker."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("upgraded_postgresql_url")
    else:
        shutil.copy(request.getfixturevalue("upgraded_file"), tmp_path / SQLITE_FILE)
    return load_settings(
        env_file=None, data_dir=tmp_path, kafka="127.0.0.1:1", database_url=url, secret_key=generate_key()
    )


@pytest.fixture
async def store(store_settings: Settings) -> AsyncIterator[Database]:
    """The database of `store_settings`."""
    database = Database(store_settings)
    yield database
    await database.close()


@pytest.fixture
def alone(tmp_path: Path) -> Settings:
    """Settings on SQLite in an empty folder, for tests that need no broker."""
    return load_settings(
        env_file=None, data_dir=tmp_path, kafka="127.0.0.1:1", database_url=None, secret_key=generate_key()
    )


@pytest.fixture
async def offline(alone: Settings, upgraded_file: Path) -> AsyncIterator[Database]:
    """The database of `alone`, upgraded."""
    shutil.copy(upgraded_file, alone.data_dir / SQLITE_FILE)
    database = Database(alone)
    yield database
    await database.close()
