"""A stub of GitHub's API for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.rigs.github_stub import (
    GitHubStub,
    stub_running,
)


@pytest.fixture
async def stub() -> AsyncIterator[GitHubStub]:
    """A stub of the GitHub API."""
    async with stub_running() as running:
        yield running
