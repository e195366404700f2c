"""An API for tests that change nothing, and one of a test's own. Each test file names `tests.rigs.databases` as a plugin."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from notifier.settings import Settings
from tests.rigs.brokerless import brokerless
from tests.rigs.graphql_api import Api, serving


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(upgraded_file: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """An API without a broker, for all tests of this file that change nothing."""
    async with serving(brokerless(upgraded_file, tmp_path_factory.mktemp("graphql"))) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def own(store_settings: Settings) -> AsyncIterator[Api]:
    """An API of the test's own, on each kind of database, without a broker."""
    async with serving(store_settings) as api:
        yield api
