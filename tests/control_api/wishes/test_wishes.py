"""What is asked while the broker goes away. The way through a real one is shown in tests/consumers/telegram."""

from collections.abc import Sequence
from typing import cast

import pytest

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.services import Services
from control_api.intake.intake import Intake
from control_api.intake.outgoing import Outgoing
from control_api.registry import load_registry
from control_api.wishes.codes import make_code
from control_api.wishes.granting import Granting
from control_api.wishes.wishes import Wishes
from notifier.database import Database
from notifier.errors import BrokerError
from notifier.record import now
from notifier.seal import Seal, generate_key
from notifier.settings import Settings
from notifier.wish import LINK, Wish, code_digest

pytest_plugins = ["tests.rigs.databases"]


class Written:
    """An intake whose broker is away for the first write."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []
        self.away = True

    async def write(self, records: Sequence[Outgoing]) -> None:
        if self.away:
            self.away = False
            raise BrokerError("the broker is away")
        self.records += records


async def test_a_code_that_was_used_as_the_broker_went_away_is_said_to_have_worked(
    alone: Settings, offline: Database
) -> None:
    services = Services(offline, load_registry(), Seal(generate_key()))
    bot = {"bot_token": "123456:ABC", "chat_id": "recipient", "listen": True}
    await services.create(COMMAND_LINE, "user", {"username": "alice"})
    await services.create(COMMAND_LINE, "consumer", {"name": "direct", "type": "telegram", "parameters": bot})
    code = (await make_code(offline, services, COMMAND_LINE, "alice")).code
    wish = Wish(
        kind=LINK,
        name=code_digest(code),
        state="asked",
        at=now(),
        consumer="direct",
        world="telegram",
        address="7",
        wants="link",
    )
    intake = Written()
    wishes = Wishes(alone, offline, Granting(offline, services), cast("Intake", intake))
    assert await wishes._lease.acquire()
    for _ in range(2):
        wishes.take(wish.key, wish.encode())  # as it is read from the topic, and read anew
        if intake.away:
            with pytest.raises(BrokerError):
                await wishes._do()
        else:
            await wishes._do()
    (record,) = intake.records
    assert record.value is not None
    told = Wish.decode(record.value)
    assert (told.state, told.detail) == ("done", "Done. Messages for alice come here from now on.")
    assert (await services.get("user", "alice")).spec["additional_info"] == {"telegram": {"id": 7}}
    await wishes.stop()
