"""A server that takes webhooks, for each test."""

from collections.abc import AsyncIterator

import pytest

from notifier import Context
from tests.rigs.company_network import forget_proxies
from tests.rigs.hook_server import HookServer, hooks
from tests.rigs.plugin_world import context_without_scripts


@pytest.fixture
async def server() -> AsyncIterator[HookServer]:
    """A server."""
    async with hooks() as server:
        yield server


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Context:
    """A context that reaches loopback, with the default texts."""
    forget_proxies(monkeypatch)
    return context_without_scripts("hook")
