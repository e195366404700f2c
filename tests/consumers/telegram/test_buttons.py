"""Buttons under a text: what they name, which addresses they open, and what happens where Telegram takes none."""

import json
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.telegram.buttons import keyboard, press_of
from consumers.telegram.mutes import until_of
from consumers.telegram.telegram import Telegram, TelegramParameters
from notifier import Context, Delivery, User
from notifier.errors import InputError
from notifier.validation import validated
from notifier.working_time import WorkingTime
from tests.rigs.bot_api import GROUP, OK, TOKEN, BotApi, bot, make, says

URL = "https://ci.example.com/builds/42?tab=log"


@given(ticket=st.from_regex(r"[0-9a-f]{8}\.[0-9a-f]{1,4}\.[0-9a-f]{1,16}", fullmatch=True), number=st.integers(0, 9))
def test_a_press_names_the_delivery_and_nobody_can_forge_one(ticket: str, number: int) -> None:
    delivery = make(number=number)
    ((key, other), (third,)) = keyboard(("acknowledge", "mute_hour", "mute_day"), delivery, ticket, TOKEN)
    assert key.data is not None
    assert len(key.data.encode()) <= 64
    press = press_of(key.data)
    assert press is not None
    assert (press.button, press.ticket, press.is_of(delivery, TOKEN)) == ("acknowledge", ticket, True)
    assert not press.is_of(make(number=number + 1), TOKEN)
    assert not press.is_of(delivery, TOKEN + "x")
    assert other.data is not None
    exchanged = press_of("a" + other.data[1:])
    assert exchanged is not None
    assert not exchanged.is_of(delivery, TOKEN)
    assert third.data is not None
    assert third.data.startswith("d.")


@given(st.one_of(st.none(), st.integers(), st.text(), st.binary()))
def test_whatever_comes_as_a_press_is_read_or_is_none(data: object) -> None:
    assert press_of(data) is None or isinstance(data, str)


@pytest.mark.parametrize(
    ("url", "opens"),
    [
        (URL, True),
        ("http://10.0.0.1:8080/x", True),
        ("http://localhost/x", False),
        ("ftp://example.com/x", False),
        ("javascript:alert(1)", False),
        ("tg://user?id=1", False),
        ("https://exa mple.com/", False),
        ("https://example.com/\u202e", False),
        ("https://[::1", False),
        ("https://example.com:99999/", False),
        ("https://example.com/" + "x" * 2048, False),
        ("", False),
    ],
)
def test_only_a_plain_address_is_opened(url: str, opens: bool) -> None:
    rows = keyboard(("link",), make(message={"url": url}), None, TOKEN)
    assert [key.url for row in rows for key in row] == ([url] if opens else [])


def with_ticket(context: Context) -> Context:
    def ticket(delivery: Delivery) -> str | None:
        return "0123abcd.0.1f"

    return replace(context, ticket=ticket)


async def test_the_last_part_has_the_buttons_and_a_refused_address_costs_its_button_alone(
    api: BotApi, context: Context
) -> None:
    delivery = make("word " * 1200, message={"url": URL})
    api.answers = [OK, says(400, "Bad Request: BUTTON_URL_INVALID"), OK]
    async with bot(buttons=["acknowledge", "link"]) as consumer:
        (result,) = await consumer.deliver([delivery], with_ticket(context))
    assert result.outcome == "accepted"
    assert result.detail is not None
    assert result.detail.startswith("the button with its address was refused, so it went without")
    first, refused, sent = (form for _, form in api.calls)
    assert "reply_markup" not in first
    assert [key["text"] for row in json.loads(refused["reply_markup"])["inline_keyboard"] for key in row] == [
        "Acknowledge",
        "Open",
    ]
    assert [key["text"] for row in json.loads(sent["reply_markup"])["inline_keyboard"] for key in row] == [
        "Acknowledge"
    ]
    assert refused["text"] == sent["text"]


def test_buttons_have_the_bot_listen_and_stand_there_once() -> None:
    def parameters(*buttons: str, **more: bool) -> TelegramParameters:
        given = {"bot_token": TOKEN, "chat_id": GROUP, "buttons": list(buttons), **more}
        return validated(TelegramParameters, given)

    found = [Telegram(parameters(*some)).listens() for some in ((), ("link",), ("acknowledge",))]
    assert found == [False, False, True]
    assert Telegram(parameters(listen=True)).listens()
    for wrong in (("link", "link"), ("explode",)):
        with pytest.raises(InputError):
            parameters(*wrong)


ANNA = User(
    username="anna",
    working_time=WorkingTime(start=time(10), end=time(18), timezone="Europe/Moscow"),
)
AT = datetime(2026, 11, 29, 22, 30, tzinfo=UTC)  # half past one of the next day in Moscow


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", AT + timedelta(hours=1)),
        ("30m", AT + timedelta(minutes=30)),
        ("2 h", AT + timedelta(hours=2)),
        ("3д", AT + timedelta(days=3)),
        ("Tomorrow", datetime(2026, 12, 1, 7, tzinfo=UTC)),  # the day after that in Moscow, at ten
        ("91d", None),
        ("0m", None),
        ("9999d", None),
        ("for ever", None),
        ("-1h", None),
    ],
)
def test_a_mute_ends_on_the_clock_of_who_asks(text: str, expected: datetime | None) -> None:
    assert until_of(text, ANNA, AT) == expected


def test_without_a_working_time_tomorrow_is_at_nine() -> None:
    assert until_of("tomorrow", User(username="bob"), AT) == datetime(2026, 11, 30, 9, tzinfo=UTC)
