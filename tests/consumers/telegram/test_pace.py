"""Telegram at its pace: a Bot API that enforces limits has nothing to refuse."""

from typing import Any

import consumers.telegram.bot  # noqa: F401 - importing it takes many seconds of a busy machine, which no wait in here allows for
from consumers.telegram.telegram import Telegram
from notifier import Limit
from notifier.kafka import ensure_topics
from notifier.registry import Registry, close_secrets
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.topics import deliveries
from tests.rigs.bot_api import GROUP, TOKEN, BotApi, BotLimits, bot, make
from tests.rigs.delivery_rig import attempts, define, send, wait_for_attempts, with_, working

LIMITS: dict[str, Any] = {"per_second": 6, "chat_per_second": 2, "chat_burst": 2}


async def test_limits_belong_to_the_bot_and_to_the_chat() -> None:
    async with bot() as group, bot(chat_id="recipient") as direct, bot(token="99:other", **LIMITS) as other:
        assert group.credential() == direct.credential() != other.credential()
        assert "123456" not in group.credential()
        chat = Limit(count=3, seconds=3.0, of=str(GROUP))
        bots = Limit(count=30, seconds=1.0)
        assert group.limits(make()) == [bots, chat, Limit(count=20, seconds=60.0, of=str(GROUP))]
        assert direct.limits(make(address="123")) == [bots, Limit(count=3, seconds=3.0, of="123")]
        assert other.limits(make())[:2] == [
            Limit(count=6, seconds=1.0),
            Limit(count=2, seconds=1.0, of=str(GROUP)),
        ]


async def test_two_consumers_of_a_bot_and_texts_in_parts_keep_the_limits(settings: Settings, api: BotApi) -> None:
    settings = with_(settings, telegram_api=api.url)
    api.limits = BotLimits(overall=(6, 1.0), chat=(2, 1.0), group=(20, 60.0))
    for number in range(3):
        info = {"telegram": {"username": f"u{number}", "id": 100 + number}}
        await define(settings, f"u{number}", {"additional_info": info}, kind="user")
    names = {"chat": GROUP, "direct": "recipient"}
    for name, chat_id in names.items():
        sealed = close_secrets(load_seal(settings), "consumer", name, {"bot_token": TOKEN}, frozenset({"bot_token"}))
        await ensure_topics(settings, [deliveries(name, 1)])
        await define(settings, name, {"type": "telegram", "parameters": {"chat_id": chat_id, **sealed, **LIMITS}})
    spec = {"users": ["u0", "u1", "u2"], "consumers": list(names)}
    await define(settings, "all", spec, kind="configuration", revision=2)
    to_chat = [make(f"text {n}", n, recipient="u0") for n in range(4)] + [make("word " * 1500, 9, recipient="u0")]
    to_people = [
        make(f"text {n}", n, consumer="direct", recipient=f"u{n % 3}", address=f"{100 + n % 3}") for n in range(9)
    ]
    await send(settings, [*to_chat, *to_people])
    async with working(settings, Registry([Telegram])):
        found = await wait_for_attempts(settings, 14, outcome="accepted")
    assert api.limits.refused == 0
    assert len(found) == len(await attempts(settings)) == 14
    sent = [(form["chat_id"], form["text"]) for _, form in api.calls]
    assert len(sent) == 15  # one text goes in two parts
    group = [text for chat, text in sent if chat == str(GROUP)]
    assert [text[:3] for text in group] == ["Fro"] * 4 + ["1/2", "2/2"]
    assert [text.rpartition(" ")[2] for text in group[:4]] == ["0", "1", "2", "3"]
