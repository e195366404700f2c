"""What people send to a bot, however large and odd it is."""

import pytest

from consumers.telegram.listening import chat_in
from consumers.telegram.updates import Updates
from notifier.outside import open_session
from tests.rigs.bot_api import TOKEN, BotApi


async def test_many_large_updates_are_handed_out_in_several_answers(api: BotApi) -> None:
    for _ in range(20):
        api.inbox.write("\u044f" * 20_000)  # 120 KB each, as the Bot API escapes them
    async with open_session() as session:
        updates = Updates(session, TOKEN, api.url)
        heard, offset = 0, None
        while heard < 20:
            found = await updates.next(offset)
            assert found
            heard, offset = heard + len(found), found[-1]["update_id"] + 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [("4242", 4242), ("-5", None), ("--5", None), ("\u00b2", None), ("\u0663", None), ("", None)],
)
def test_an_answer_goes_to_the_number_of_a_chat(address: str, expected: int | None) -> None:
    assert chat_in(address) == expected
