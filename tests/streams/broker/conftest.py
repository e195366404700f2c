"""What the tests of the embedded broker share: one data folder of a broker that was stopped."""

import asyncio
from pathlib import Path

import pytest

from tests.rigs.broker_rig import embedded, write


@pytest.fixture(scope="session")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with three records on `messages`, of a broker that was stopped in an orderly way. Copy it."""
    data_dir = tmp_path_factory.mktemp("stopped")
    one = embedded(data_dir)
    address = one.start(die_with_parent=True)
    try:
        asyncio.run(write(data_dir, address, "first", "second", "third"))
    finally:
        one.stop()
    return data_dir
