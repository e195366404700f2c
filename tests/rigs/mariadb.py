"""A MariaDB server of the test session's own, on loopback. Without it the tests that need it are skipped; on CI they fail.

A test file that uses it says `pytest_plugins = ["tests.rigs.mariadb"]`.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.asked import MariaDB
from tests.rigs.company_network import make_authority
from tests.rigs.kafka_tools import WAIT_S

_PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb")
_USERS = ("mysql", "nobody")  # who may run the server where the tests run as root
_OPTIONS = (
    "--no-defaults",
    "--skip-log-bin",
    "--skip-networking=0",
    "--bind-address=127.0.0.1",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=16M",
)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    """A running MariaDB."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    programs = [shutil.which(name, path=path) for name in _PROGRAMS]
    if None in programs:
        text = "MariaDB's mariadbd, mariadb-install-db and mariadb are not on PATH"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    server, install, client = (str(program) for program in programs)
    with tempfile.TemporaryDirectory(prefix="notifier-db-", dir="/tmp") as name:
        folder = Path(name)
        user = _other_user()
        if user is not None:
            shutil.chown(folder, user)
        as_user = [] if user is None else [f"--user={user}"]
        made = [
            install,
            "--no-defaults",
            f"--datadir={folder / 'data'}",
            "--auth-root-authentication-method=normal",
            *as_user,
        ]
        subprocess.run([*made, "--skip-test-db"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        tls = folder / "tls"
        tls.mkdir()
        make_authority(tls)
        for place in (tls, *tls.iterdir()):
            if user is not None:
                shutil.chown(place, user)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [server, *_OPTIONS, *as_user, f"--datadir={folder / 'data'}", f"--socket={folder / 'socket'}"]
        process = subprocess.Popen(
            [
                *command,
                f"--port={port}",
                f"--pid-file={folder / 'pid'}",
                *(f"--ssl-{part}={tls / 'server.pem'}" for part in ("cert", "key")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            running = MariaDB(folder, port, client)
            _wait(running, process)
            yield running
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _other_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in _USERS if name in known), None)


def _wait(running: MariaDB, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            running.tell("SELECT 1")
        except subprocess.CalledProcessError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail("MariaDB does not start")
            time.sleep(0.1)
        else:
            return
