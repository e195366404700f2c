"""The API that the tests of a file share. Each test file names `tests.rigs.databases` as a plugin."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.rigs.brokerless import brokerless
from tests.rigs.console_server import Console, serving


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(upgraded_file: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Console]:
    """One for all tests of this file."""
    async with serving(brokerless(upgraded_file, tmp_path_factory.mktemp("console"))) as console:
        yield console
