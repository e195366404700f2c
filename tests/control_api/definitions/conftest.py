"""Services on a database alone and on one with a broker, and a folder of files to apply."""

from pathlib import Path

import pytest

from control_api.definitions.services import Services
from notifier.database import Database
from notifier.seal import Seal, generate_key
from tests.rigs.definitions_rig import CANARY, EXAMPLE, REGISTRY, Apply, applying, write_files


@pytest.fixture
def seal() -> Seal:
    return Seal(generate_key())


@pytest.fixture
def services(store: Database, seal: Seal) -> Services:
    """On a database alone."""
    return Services(store, REGISTRY, seal)


@pytest.fixture
def published(database: Database, seal: Seal) -> Services:
    """On the database of settings that have a broker too."""
    return Services(database, REGISTRY, seal)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    folder = tmp_path / "definitions"
    write_files(folder, d_yaml=EXAMPLE, append_sh="cat >> /srv/out\n")
    (folder / "token.txt").write_text(CANARY + "-file\n")
    return folder


@pytest.fixture
def applied(store: Database, seal: Seal) -> Apply:
    return applying(store, seal)
