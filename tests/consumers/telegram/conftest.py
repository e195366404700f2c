"""A Bot API of each test, and a context in which Telegram is that one."""

from collections.abc import AsyncIterator

import pytest

from notifier import Context
from tests.rigs.bot_api import BotApi, at, serving


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    """A Bot API."""
    async with serving() as api:
        yield api


@pytest.fixture
def context(api: BotApi) -> Context:
    """A context whose Telegram is the Bot API of the test, without a template."""
    return at(api.url)
