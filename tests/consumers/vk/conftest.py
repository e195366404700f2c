"""A VK API of each test, and a context in which VK is that one."""

from collections.abc import AsyncIterator

import pytest

from notifier import Context
from tests.rigs.vk_api import VkStub, at, serving


@pytest.fixture
async def api() -> AsyncIterator[VkStub]:
    """A VK API."""
    async with serving() as api:
        yield api


@pytest.fixture
def context(api: VkStub) -> Context:
    """A context whose VK is the API of the test, where deliveries say their content."""
    return at(api.url)
