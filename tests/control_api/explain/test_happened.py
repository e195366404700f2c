"""What happened to a message is found on each kind of database, whatever any Kafka client names it."""

import pytest

from control_api.access.actor import COMMAND_LINE
from control_api.explain.happened import happened
from notifier.database import Database

pytest_plugins = ["tests.rigs.databases"]


@pytest.mark.parametrize(("producer", "id_"), [("ci", "a\0b"), ("c\0i", "a")])
async def test_a_name_with_nul_is_looked_up_as_it_is_stored(store: Database, producer: str, id_: str) -> None:
    assert await happened(store, COMMAND_LINE, producer, id_) == ([], [])
