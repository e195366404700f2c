"""A MAX bot API of each test, and a context in which MAX is that one."""

from collections.abc import AsyncIterator

import pytest

from notifier import Context
from tests.rigs.max_api import MaxStub, at, serving


@pytest.fixture
async def api() -> AsyncIterator[MaxStub]:
    """A bot API."""
    async with serving() as api:
        yield api


@pytest.fixture
def context(api: MaxStub) -> Context:
    """A context whose MAX is the bot API of the test, where deliveries say their content."""
    return at(api.url)
