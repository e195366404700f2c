"""The Telegram consumer against a Bot API on loopback: what it sends, to whom, and which parameters it takes."""

import subprocess
import sys
from typing import Any
from unittest.mock import ANY

import pytest
from pydantic import ValidationError

from consumers.telegram.entities import MAX_TEXT
from consumers.telegram.telegram import Telegram, TelegramParameters
from consumers.text.text import utf16_units
from notifier import Context, Result, User
from notifier.errors import InputError
from notifier.plugin import secret_fields
from notifier.registry import Registry
from tests.rigs.bot_api import GROUP, OK, TOKEN, BotApi, at, bot, make, result, says
from tests.rigs.repository import ROOT


@pytest.mark.predecessor("S-44", "S-46")
async def test_a_group_gets_the_text_of_the_predecessor(api: BotApi, context: Context) -> None:
    async with bot() as consumer:
        assert await consumer.deliver([make()], context) == [Result()]
    assert api.calls == [("sendMessage", {"chat_id": str(GROUP), "text": "From octocat to al: build failed"})]


@pytest.mark.predecessor("S-46")
async def test_topic_and_silence_are_passed_on_and_markup_is_text(api: BotApi, context: Context) -> None:
    async with bot(thread_id=7, silent=True) as consumer:
        await consumer.deliver([make("*a* <b>&amp;</b> [x](http://y) _z_")], context)
    ((_, form),) = api.calls
    assert form == {
        "chat_id": str(GROUP),
        "message_thread_id": "7",
        "disable_notification": ANY,
        "text": "From octocat to al: *a* <b>&amp;</b> [x](http://y) _z_",
    }
    assert form["disable_notification"].lower() == "true"


async def test_a_person_is_written_to_at_the_own_address(api: BotApi, context: Context) -> None:
    async with bot(chat_id="recipient") as consumer:
        assert not consumer.fixed_address()
        assert await result(consumer, make(address="5001"), context) == Result()
        missing = await result(consumer, make(address="alice"), context)
    assert [form["chat_id"] for _, form in api.calls] == ["5001"]
    assert (missing.outcome, missing.reason) == ("refused", "no_address")


@pytest.mark.parametrize("stored", [" -100123 ", "-100123", -100123.0])
def test_a_number_that_was_stored_as_another_kind_of_number_is_one(stored: object) -> None:
    assert TelegramParameters.model_validate({"bot_token": TOKEN, "chat_id": stored}).chat_id == -100123


@pytest.mark.parametrize(
    ("info", "address"),
    [
        pytest.param({"telegram": {"username": "al", "id": 123}}, "123", id="id"),
        pytest.param({"telegram": [{"username": "al"}, {"id": "456"}]}, "456", id="of the first that has one"),
        pytest.param({"telegram": {"username": "al"}}, None, id="no id"),
        pytest.param({"telegram": {"id": True}}, None, id="no number"),
        pytest.param({"telegram": {"id": "@al"}}, None, id="a name"),
        pytest.param({"default": {"id": 1}}, None, id="another world"),
        pytest.param({"telegram": {"id": 0}}, None, id="nought"),
    ],
)
async def test_the_address_of_a_person_is_the_telegram_id(info: dict[str, Any], address: str | None) -> None:
    async with bot(chat_id="recipient") as consumer:
        assert consumer.address(User(username="alice", additional_info=info)) == address


async def test_a_template_takes_the_place_of_the_default_text(api: BotApi) -> None:
    async with bot() as consumer:
        await consumer.deliver([make()], at(api.url, "made \u202eup"))
        empty = await result(consumer, make(number=2), at(api.url, " \n"))
    assert api.texts == ["made up"]
    assert (empty.outcome, empty.reason, empty.detail) == ("refused", "invalid_content", "the text is empty")


async def test_a_long_text_goes_in_parts_in_order_over_one_connection(api: BotApi, context: Context) -> None:
    async with bot() as consumer:
        assert await result(consumer, make("\U0001f600 word" * 1500), context) == Result()
    assert [text[:4] for text in api.texts] == ["1/3\n", "2/3\n", "3/3\n"]
    assert all(utf16_units(text) <= MAX_TEXT for text in api.texts)
    assert sum(text.count("\U0001f600") for text in api.texts) == 1500
    assert len(api.connections) == 1


async def test_a_part_that_failed_is_sent_again_and_those_before_it_are_not(api: BotApi, context: Context) -> None:
    api.answers = [OK, says(429, "Too Many Requests: retry after 1", retry_after=1)]
    delivery = make("x" * 10_000)
    async with bot() as consumer:
        first = await result(consumer, delivery, context)
        assert (first.reason, first.retry_after_s) == ("rate_limited", 1.0)
        assert "part 2 of 3" in str(first.detail)
        assert await result(consumer, delivery, context) == Result()
    assert [text[:4] for text in api.texts] == ["1/3\n", "2/3\n", "2/3\n", "3/3\n"]


async def test_parts_of_another_text_begin_at_the_first(api: BotApi) -> None:
    api.answers = [OK, says(500)]
    async with bot() as consumer:
        await result(consumer, make(), at(api.url, "x" * 5000))
        await result(consumer, make(), at(api.url, "y" * 5000))
    assert [text[:5] for text in api.texts] == ["1/2\nx", "2/2\nx", "1/2\ny", "2/2\ny"]


@pytest.mark.predecessor("S-44")
@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        pytest.param({"bot_token": "no token"}, "bot_token", id="no token"),
        pytest.param({"bot_token": "1:a/../b"}, "bot_token", id="path in the token"),
        pytest.param({"bot_token": None}, "bot_token", id="token missing"),
        pytest.param({"chat_id": "someone"}, "chat_id", id="neither number nor recipient"),
        pytest.param({"chat_id": 0}, "chat_id", id="nought"),
        pytest.param({"chat_id": True}, "chat_id", id="true"),
        pytest.param({"chat_id": 2**60}, "chat_id", id="too large"),
        pytest.param({"thread_id": 0}, "thread_id", id="topic 0"),
        pytest.param({"colour": 1}, "colour", id="unknown"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TelegramParameters.model_validate({"bot_token": TOKEN, "chat_id": GROUP, **wrong})
    assert {str(error["loc"][0]) for error in refused.value.errors()} == {pointer}
    assert "CANARY" not in str(refused.value)


@pytest.mark.parametrize(
    "chat_id", ["@my_channel", "", None, True, 0, "0", 1.5, 2**60, [], ["recipient"], {}, "Recipient"]
)
def test_a_wrong_chat_is_told_at_its_place_in_one_sentence(chat_id: Any) -> None:
    with pytest.raises(InputError) as refused:
        Registry([Telegram]).check("consumer", "telegram", {"bot_token": TOKEN, "chat_id": chat_id})
    (error,) = refused.value.errors
    assert error.pointer == "/parameters/chat_id"
    assert error.detail.startswith(
        "must be the number of a chat, such as -1001234567890, or the word recipient; getUpdates"
    )


@pytest.mark.parametrize("chat_id", [GROUP, str(GROUP), "recipient"])
def test_a_chat_is_its_number_or_the_word(chat_id: Any) -> None:
    parameters = TelegramParameters.model_validate({"bot_token": TOKEN, "chat_id": chat_id})
    assert parameters.chat_id == (chat_id if chat_id == "recipient" else GROUP)


@pytest.mark.predecessor("S-10", "S-44")
def test_the_token_is_a_secret_and_the_router_needs_none() -> None:
    assert secret_fields(TelegramParameters) == {"bot_token", "proxy"}
    parameters = {"bot_token": "sealed:abc:xyz", "chat_id": "recipient"}
    consumer = Registry([Telegram]).build("consumer", "chat", "telegram", parameters, None)
    assert isinstance(consumer, Telegram)
    assert (consumer.world_of(), consumer.batch(), consumer.parameters.silent) == ("telegram", 1, False)


async def test_the_check_asks_for_the_chat_or_for_the_bot(api: BotApi, context: Context) -> None:
    async with bot() as consumer:
        await consumer.check(context)
    async with bot(chat_id="recipient") as consumer:
        await consumer.check(context)
    assert api.calls == [("getChat", {"chat_id": str(GROUP)}), ("getMe", {})]


async def test_closing_twice_or_unused_is_harmless(api: BotApi, context: Context) -> None:
    async with bot() as consumer:
        await consumer.close()
        assert await result(consumer, make(), context) == Result()
        await consumer.close()


def test_aiogram_is_imported_with_the_first_text_and_not_before() -> None:
    """It takes seconds, and neither the API nor the router ever sends."""
    program = (
        "import sys\n"
        "from consumers.telegram import Telegram\n"
        f"Telegram(Telegram.Parameters.model_validate({{'bot_token': '{TOKEN}', 'chat_id': {GROUP}}}))\n"
        "assert 'aiogram' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)
