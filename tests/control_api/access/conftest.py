"""The API with teams, under each of both rules."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from notifier.seal import generate_key
from notifier.settings import load_settings
from tests.rigs.teams_rig import Teams, teams_served


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["open", "strict"])
async def teams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Teams]:
    """The API under each rule."""
    settings = load_settings(
        env_file=None,
        data_dir=tmp_path_factory.mktemp("teams"),
        kafka="127.0.0.1:1",
        database_url=None,
        secret_key=generate_key(),
        teams=request.param,
    )
    async with teams_served(settings) as teams:
        yield teams
