"""Each built-in consumer keeps the contract, through its real client library, against a service on loopback."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from consumers.apprise import Apprise
from consumers.max.max import Max, MaxParameters
from consumers.telegram.telegram import Telegram, TelegramParameters
from consumers.vk.vk import Vk, VkParameters
from consumers.webhook import Discord, GoogleChat, Mattermost, Slack, Teams
from consumers.webhook.incoming import Incoming
from consumers.webhook.webhook import Webhook, WebhookParameters
from notifier.testing import Case, Reply, Service, a_delivery, context_for, hold, http_cases, serving

TOKEN = "123456:CANARY-token_of-a-bot"
_SENT = b'{"ok": true, "result": {"message_id": 1, "date": 1790000000, "chat": {"id": -100, "type": "supergroup"}}}'
_HELD = Case(name="", replies=[Reply(status=404)], outcome="refused", reason="unauthorized")


@pytest.mark.parametrize("case", http_cases(ok=Reply(body=_SENT), refused_with_404=_HELD), ids=str)
async def test_telegram(case: Case) -> None:
    async with serving() as service:
        consumer = Telegram(TelegramParameters(bot_token=SecretStr(TOKEN), chat_id=-100))
        try:
            await hold(consumer, case, service, a_delivery(), context_for("chat", telegram=service.url))
        finally:
            await consumer.close()


@pytest.mark.parametrize("case", http_cases(ok=Reply(body=b'{"response": 1}'), refused_with_404=_HELD), ids=str)
async def test_vk(case: Case) -> None:
    async with serving() as service:
        consumer = Vk(VkParameters(token=SecretStr("vk1.a.CANARY-token"), peer_id=2_000_000_001))
        try:
            await hold(consumer, case, service, a_delivery(), context_for("chat", vk=service.url))
        finally:
            await consumer.close()


@pytest.mark.parametrize("case", http_cases(ok=Reply(body=b'{"message": {}}'), refused_with_404=_HELD), ids=str)
async def test_max(case: Case) -> None:
    async with serving() as service:
        consumer = Max(MaxParameters(token=SecretStr("CANARY-token_of-a-bot"), chat_id=-70))
        try:
            await hold(consumer, case, service, a_delivery(), context_for("chat", max=service.url))
        finally:
            await consumer.close()


_WEBHOOK_404 = Case(name="", replies=[Reply(status=404)], outcome="deferred", reason="not_found")


@pytest.mark.parametrize("case", http_cases(ok=Reply(status=204), refused_with_404=_WEBHOOK_404), ids=str)
async def test_webhook(case: Case) -> None:
    secrets = {"secret": "CANARY-secret", "headers": {"Authorization": "Bearer CANARY-token"}}
    async with serving() as service:
        consumer = Webhook(WebhookParameters.model_validate({"url": service.url, **secrets}))
        try:
            await hold(consumer, case, service, a_delivery(), context_for("hook"))
        finally:
            await consumer.close()


CHATS: dict[type[Incoming[Any]], tuple[str, Reply]] = {
    Slack: ("services/T0/B0/", Reply(body=b"ok")),
    Mattermost: ("hooks/", Reply(body=b"ok")),
    Discord: ("api/webhooks/1/", Reply(body=b'{"id": "1"}')),
    Teams: ("workflows/", Reply(status=202)),
    GoogleChat: ("v1/spaces/A/messages?key=1&token=", Reply(body=b"{}")),
}
_REFUSED = {case.replies[0].status: case for case in http_cases(ok=Reply()) if case.name.startswith("refused with")}


def of_chat(chat: type[Incoming[Any]]) -> list[Case]:
    """The cases of a chat: an address that is not right any more is a credential that is refused."""
    others = {
        f"refused_with_{status}": replace(_REFUSED[status], reason=reason)
        for status, reason in {404: "unauthorized", **chat.statuses}.items()
        if status in _REFUSED
    }
    return http_cases(CHATS[chat][1], **others)


@pytest.mark.parametrize(
    ("chat", "case"),
    [(chat, case) for chat in CHATS for case in of_chat(chat)],
    ids=lambda one: getattr(one, "type", str(one)),
)
async def test_chats(chat: type[Incoming[Any]], case: Case) -> None:
    async with serving() as service:
        url = f"{service.url}/{CHATS[chat][0]}CANARY-address"
        consumer = chat(chat.Parameters.model_validate({"url": url}))
        try:
            await hold(consumer, case, service, a_delivery(), context_for("chat"))
        finally:
            await consumer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def apprise() -> AsyncIterator[tuple[Service, Apprise]]:
    """The consumer with its process, which takes seconds to start, and the service that its URL leads to."""
    async with serving() as service:
        url = f"{service.url.replace('http:', 'json:')}/?token=CANARY-token"
        consumer = Apprise(Apprise.Parameters.model_validate({"urls": [url]}))
        yield service, consumer
        await consumer.close()


# Apprise does not tell a connection that broke from an answer that did not come.
_CUT_OFF = Case(name="", replies=[Reply(fault="hang up")], outcome="unknown", reason="timeout")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", http_cases(ok=Reply(body=b"ok"), no_answer=_CUT_OFF), ids=str)
async def test_apprise(apprise: tuple[Service, Apprise], case: Case) -> None:
    service, consumer = apprise
    await hold(consumer, case, service, a_delivery(), context_for("chat"))
