"""What the tests of Redash share."""

from collections.abc import AsyncIterator

import pytest

from tests.rigs.redash_stub import RedashStub, redash_running


@pytest.fixture
async def redash() -> AsyncIterator[RedashStub]:
    """A stub of Redash."""
    async with redash_running() as stub:
        yield stub
