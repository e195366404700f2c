"""The Telegram consumer against a Bot API on loopback, through the real aiogram; and once with a real delivery worker."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest
from aiohttp import web
from pydantic import SecretStr, ValidationError

from consumers.telegram import bot as telegram_bot
from consumers.telegram import telegram
from consumers.telegram.telegram import Telegram, TelegramParameters
from consumers.text.text import utf16_units
from notifier import Context, Delivery, Message, Permanent, Result, Retryable, User
from notifier.errors import DeliveryError
from notifier.kafka import ensure_topics
from notifier.outcome import Outcome, Reason
from notifier.plugin import secret_fields
from notifier.registry import Registry, close_secrets
from notifier.sandbox import detect_sandbox
from notifier.seal import load_seal
from notifier.settings import Settings, load_settings
from notifier.topics import deliveries
from streams.delivery.retry import result_of
from tests.rigs.delivery_rig import define, send, wait_for_attempts, with_, working
from tests.rigs.kafka_tools import produce
from tests.rigs.roles import roles

TOKEN = "123456:CANARY-token_of-a-bot"
GROUP = -1001234567890
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def says(status: int, description: str | None = None, **parameters: int) -> Answer:
    """An answer as the Bot API gives it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if status == 200:
            return web.json_response({"ok": True, "result": sent_message()})
        body: dict[str, Any] = {"ok": False, "error_code": status}
        if description is not None:
            body["description"] = description
        if parameters:
            body["parameters"] = parameters
        return web.json_response(body, status=status)

    return answer


def raw(status: int, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """An answer of whatever stands between the bot and Telegram."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


def cut(status: int) -> Answer:
    """The beginning of an answer, and then the connection ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"ok": true, "res')
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


async def hang_up(request: web.Request) -> web.StreamResponse:
    """No answer at all: the connection ends."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def stay_silent(request: web.Request) -> web.StreamResponse:
    """No answer, and the connection stays."""
    await asyncio.sleep(60)
    return web.Response()


def sent_message() -> dict[str, Any]:
    return {"message_id": 1, "date": 1_790_000_000, "chat": {"id": GROUP, "type": "supergroup", "title": "Team"}}


OK = says(200)


class BotApi:
    """A Bot API that answers as it is told, in turn, then with 200; it keeps what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.connections: set[Any] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport)
        token, method = request.match_info["token"], request.match_info["method"]
        form = {name: str(value) for name, value in (await request.post()).items()}
        if token != TOKEN:
            return await says(401, "Unauthorized")(request)
        self.calls.append((method, form))
        if self.answers:
            return await self.answers.pop(0)(request)
        if method == "getMe":
            return web.json_response({"ok": True, "result": {"id": 123456, "is_bot": True, "first_name": "Bot"}})
        if method == "getChat":
            chat = {"id": GROUP, "type": "supergroup", "accent_color_id": 1, "max_reaction_count": 11}
            gifts = dict.fromkeys(
                ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels"),
                True,
            )
            return web.json_response({"ok": True, "result": {**chat, "accepted_gift_types": gifts}})
        return await OK(request)

    @property
    def texts(self) -> list[str]:
        """The texts that were sent, in order."""
        return [form["text"] for method, form in self.calls if method == "sendMessage"]


@asynccontextmanager
async def serving() -> AsyncIterator[BotApi]:
    api = BotApi()
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api
    finally:
        await runner.cleanup()


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    async with serving() as api:
        yield api


@asynccontextmanager
async def bot(token: str = TOKEN, chat_id: int | str = GROUP, **parameters: Any) -> AsyncIterator[Telegram]:
    consumer = Telegram(TelegramParameters(bot_token=SecretStr(token), chat_id=chat_id, **parameters))
    try:
        yield consumer
    finally:
        await consumer.close()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Context:
    def script(name: str) -> Any:
        raise AssertionError("it needs no script")

    settings = load_settings(env_file=None, data_dir=tmp_path_factory.mktemp("data"))
    return Context(name="chat", sandbox=detect_sandbox(settings), script=script)


@pytest.fixture
def context(base: Context, api: BotApi) -> Context:
    return _at(base, api.url)


def _at(base: Context, url: str, text: str | None = None) -> Context:
    async def told(delivery: Delivery) -> str | None:
        return text

    return Context(name=base.name, sandbox=base.sandbox, script=base.script, services={"telegram": url}, text=told)


def make(content: str = "build failed", number: int = 1, **fields: Any) -> Delivery:
    message = Message(producer="ci", content=content)
    given: dict[str, Any] = {"recipient": "alice", "receiver": "al", "sender": "octocat", **fields}
    return Delivery(
        id=f"ci/{number}/all/chat/alice",
        configuration="all",
        configuration_version=3,
        consumer="chat",
        lane="chat",
        message=msgspec.Raw(message.encode()),
        message_id=str(number),
        **given,
    )


async def result(consumer: Telegram, delivery: Delivery, context: Context) -> Result:
    """What the delivery worker makes of one call."""
    try:
        (found,) = await consumer.deliver([delivery], context)
    except DeliveryError as error:
        return result_of(error)
    return found


# What is sent


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


async def test_a_template_takes_the_place_of_the_default_text(api: BotApi, base: Context) -> None:
    async with bot() as consumer:
        await consumer.deliver([make()], _at(base, api.url, "made \u202eup"))
        empty = await result(consumer, make(number=2), _at(base, api.url, " \n"))
    assert api.texts == ["made up"]
    assert (empty.outcome, empty.reason, empty.detail) == ("refused", "invalid_content", "the text is empty")


async def test_a_long_text_goes_in_parts_in_order_over_one_connection(api: BotApi, context: Context) -> None:
    async with bot() as consumer:
        assert await result(consumer, make("\U0001f600 word" * 1500), context) == Result()
    assert [text[:4] for text in api.texts] == ["1/3\n", "2/3\n", "3/3\n"]
    assert all(utf16_units(text) <= telegram.MAX_TEXT for text in api.texts)
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


async def test_parts_of_another_text_begin_at_the_first(api: BotApi, base: Context) -> None:
    api.answers = [OK, says(500)]
    async with bot() as consumer:
        await result(consumer, make(), _at(base, api.url, "x" * 5000))
        await result(consumer, make(), _at(base, api.url, "y" * 5000))
    assert [text[:5] for text in api.texts] == ["1/2\nx", "2/2\nx", "1/2\ny", "2/2\ny"]


# What the answers mean


@pytest.mark.predecessor("S-47")
@pytest.mark.parametrize(
    ("answer", "outcome", "reason", "retry_after_s"),
    [
        pytest.param(
            says(429, "Too Many Requests: retry after 17", retry_after=17), "deferred", "rate_limited", 17.0, id="429"
        ),
        pytest.param(raw(429, b"slow", {"Retry-After": "9"}), "deferred", "rate_limited", 9.0, id="429 of a proxy"),
        pytest.param(says(429), "deferred", "rate_limited", None, id="429 that says nothing"),
        pytest.param(says(400, "Bad Request: chat not found"), "refused", "not_found", None, id="chat not found"),
        pytest.param(says(400, "Bad Request: message thread not found"), "refused", "not_found", None, id="topic"),
        pytest.param(
            says(400, "Bad Request: not enough rights to send text messages to the chat"),
            "refused", "forbidden", None, id="no right",
        ),
        pytest.param(says(400, "Bad Request: message is too long"), "refused", "invalid_content", None, id="400"),
        pytest.param(says(401, "Unauthorized"), "refused", "unauthorized", None, id="401"),
        pytest.param(says(403, "Forbidden: bot was blocked by the user"), "refused", "forbidden", None, id="403"),
        pytest.param(raw(403, b"<html>"), "refused", "forbidden", None, id="403 of a proxy"),
        pytest.param(says(404, "Not Found"), "refused", "not_found", None, id="404"),
        pytest.param(
            says(409, "Conflict: terminated by other getUpdates request"), "deferred", "server_error", None, id="409"
        ),
        pytest.param(says(413, "Request Entity Too Large"), "refused", "invalid_content", None, id="413"),
        pytest.param(says(418, "a teapot"), "deferred", "server_error", None, id="418"),
        pytest.param(says(500, "Internal Server Error"), "deferred", "server_error", None, id="500"),
        pytest.param(says(500), "deferred", "server_error", None, id="500 without a description"),
        pytest.param(raw(502, b"<html>Bad Gateway"), "deferred", "server_error", None, id="502 of a proxy"),
        pytest.param(raw(503, b"", {"Retry-After": "4"}), "deferred", "server_error", 4.0, id="503"),
        pytest.param(raw(302, b"", {"Location": "/x"}), "deferred", "server_error", None, id="redirect"),
        pytest.param(raw(200, b"<html>"), "unknown", "server_error", None, id="garbage"),
        pytest.param(raw(200, b"[" * 100_000), "unknown", "server_error", None, id="deep garbage"),
        pytest.param(raw(200, b"1" * 3_000_000), "unknown", "server_error", None, id="3 MB"),
        pytest.param(raw(200, b'{"ok": false}'), "deferred", "server_error", None, id="200 that is not ok"),
        pytest.param(raw(200, b'{"ok": true, "result": {"new": 1}}'), "accepted", "ok", None, id="ok and unknown"),
        pytest.param(cut(200), "unknown", "server_error", None, id="truncated"),
        pytest.param(cut(500), "deferred", "server_error", None, id="truncated 500"),
        pytest.param(cut(401), "refused", "unauthorized", None, id="truncated 401"),
        pytest.param(hang_up, "unknown", "connection", None, id="hung up"),
    ],
)  # fmt: skip
async def test_each_answer_has_its_meaning(
    api: BotApi, context: Context, answer: Answer, outcome: Outcome, reason: Reason, retry_after_s: float | None
) -> None:
    api.answers = [answer]
    async with bot() as consumer:
        found = await result(consumer, make(), context)
        assert (found.outcome, found.reason, found.retry_after_s) == (outcome, reason, retry_after_s)
        assert outcome == "accepted" or found.detail
        assert len(api.calls) == 1
        assert await result(consumer, make(number=2), context) == Result()  # none leaves the session broken


async def test_no_answer_in_time_is_unknown(api: BotApi, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telegram_bot, "REQUEST_S", 0.3)
    api.answers = [stay_silent]
    async with bot() as consumer:
        found = await result(consumer, make(), context)
    assert (found.outcome, found.reason) == ("unknown", "timeout")


async def test_nobody_there_is_a_connection_that_failed(base: Context) -> None:
    async with serving() as gone:
        url = gone.url
    async with bot() as consumer:
        found = await result(consumer, make(), _at(base, url))
    assert (found.outcome, found.reason) == ("deferred", "connection")


async def test_a_group_that_became_a_supergroup_is_followed_once_and_remembered(api: BotApi, context: Context) -> None:
    new = -1009876543210
    api.answers = [says(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=new)]
    async with bot(chat_id=-4242) as consumer:
        first = await result(consumer, make(), context)
        second = await result(consumer, make(number=2), context)
        assert (
            first
            == second
            == Result(detail=f"the group became the supergroup {new}; write that as chat_id of the consumer")
        )
        api.answers = [says(400, "again", migrate_to_chat_id=-5)]
        third = await result(consumer, make(number=3), context)
    assert [form["chat_id"] for _, form in api.calls] == ["-4242", str(new), str(new), str(new)]
    assert (third.outcome, third.reason) == ("refused", "not_found")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(says(401, f"bot{TOKEN} is unknown"), id="repeated by the service"),
        pytest.param(raw(500, f"/bot{TOKEN}/sendMessage".encode()), id="in a page"),
        pytest.param(raw(200, f'{{"x": "{TOKEN}"'.encode()), id="in garbage"),
        pytest.param(says(400, f"x\n\u202e<script> {TOKEN}"), id="in a bad request"),
        pytest.param(hang_up, id="hung up"),
        pytest.param(stay_silent, id="time-out"),
    ],
)
async def test_the_token_is_in_no_error_and_no_log_line(
    api: BotApi,
    context: Context,
    answer: Answer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telegram_bot, "REQUEST_S", 0.5)
    api.answers = [answer, answer]
    with caplog.at_level(logging.DEBUG):
        async with bot() as consumer:
            found = await result(consumer, make(), context)
            assert found.outcome != "accepted"
            with pytest.raises(DeliveryError) as failed:
                await consumer.check(context)
            assert "CANARY" not in repr(consumer.parameters)
    own = [record for record in caplog.records if record.name != "aiohttp.access"]  # the server's own lines
    for text in (str(found.detail), str(failed.value), repr(failed.value), *(repr(r.__dict__) for r in own)):
        assert "CANARY" not in text
    assert "\n" not in str(found.detail)
    assert "\u202e" not in str(found.detail)
    assert failed.value.__suppress_context__


# Parameters, and the check before they are saved


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


@pytest.mark.predecessor("S-10", "S-44")
def test_the_token_is_a_secret_and_the_router_needs_none() -> None:
    assert secret_fields(TelegramParameters) == {"bot_token"}
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


@pytest.mark.predecessor("S-45")
async def test_the_check_says_what_telegram_says(api: BotApi, context: Context) -> None:
    api.answers = [says(400, "Bad Request: chat not found"), says(400, "moved", migrate_to_chat_id=-77), hang_up]
    async with bot() as consumer:
        with pytest.raises(Permanent, match="chat not found") as refused:
            await consumer.check(context)
        assert refused.value.reason == "not_found"
        with pytest.raises(Permanent, match="-77"):
            await consumer.check(context)
        with pytest.raises(Retryable):
            await consumer.check(context)
    async with bot(token="123456:another") as consumer:
        with pytest.raises(Permanent) as refused:
            await consumer.check(context)
        assert refused.value.reason == "unauthorized"


EIGHT = [
    pytest.param(says(401, "Unauthorized"), Permanent, "unauthorized", None, id="401"),
    pytest.param(says(403, "Forbidden: bot was kicked"), Permanent, "forbidden", None, id="403"),
    pytest.param(says(404, "Not Found"), Permanent, "not_found", None, id="404"),
    pytest.param(says(409, "Conflict"), Retryable, "server_error", None, id="409"),
    pytest.param(says(429, "Too Many Requests", retry_after=17), Retryable, "rate_limited", 17.0, id="429"),
    pytest.param(says(502, "Bad Gateway"), Retryable, "server_error", None, id="5xx"),
    pytest.param(stay_silent, Retryable, "timeout", None, id="time-out"),
    pytest.param(cut(200), Retryable, "server_error", None, id="truncated body"),
]


@pytest.mark.parametrize("work", ["deliver", "check"])
@pytest.mark.parametrize(("answer", "kind", "reason", "retry_after_s"), EIGHT)
async def test_the_delivery_and_the_check_meet_the_same_failures(
    api: BotApi,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    kind: type[DeliveryError],
    reason: Reason,
    retry_after_s: float | None,
    work: str,
) -> None:
    monkeypatch.setattr(telegram_bot, "REQUEST_S", 0.3)
    api.answers = [answer]
    async with bot() as consumer:
        if work == "check":
            with pytest.raises(kind) as raised:
                await consumer.check(context)
            found = result_of(raised.value)
        else:
            found = await result(consumer, make(), context)
        assert (found.reason, found.retry_after_s) == (reason, retry_after_s)
        assert (found.outcome == "refused") is (kind is Permanent)
        assert len(api.calls) == 1
        await consumer.check(context)  # nothing of it is left behind


async def test_closing_twice_or_unused_is_harmless(api: BotApi, context: Context) -> None:
    async with bot() as consumer:
        await consumer.close()
        assert await result(consumer, make(), context) == Result()
        await consumer.close()


# With a real delivery worker


async def define_chat(settings: Settings, template: str | None, revision: int = 1) -> None:
    sealed = close_secrets(load_seal(settings), "consumer", "chat", {"bot_token": TOKEN}, frozenset({"bot_token"}))
    await ensure_topics(settings, [deliveries("chat", 1)])
    await define(settings, "chat", {"type": "telegram", "parameters": {"chat_id": GROUP, **sealed}})
    spec = {"consumers": ["chat"], "template": template}
    await define(settings, "all", spec, kind="configuration", revision=revision)


@pytest.mark.predecessor("S-47")
async def test_the_worker_renders_waits_as_told_and_records(
    settings: Settings, api: BotApi, caplog: pytest.LogCaptureFixture
) -> None:
    settings = with_(settings, telegram_api=api.url, retry_schedule_s=(60.0,))
    await define_chat(settings, "{{ message.content }} for {{ receiver }}{{ 1 / (message.content == 'good') }}")
    api.answers = [says(429, "Too Many Requests: retry after 2", retry_after=2), OK, OK, says(403, "Forbidden: kicked")]
    with caplog.at_level(logging.DEBUG):
        async with working(settings, Registry([Telegram])):
            await send(settings, [make("good", 1), make("bad", 2), make("dead", 3)])
            found = await wait_for_attempts(settings, 1, outcome="refused")
    assert api.texts == ["good for al1.0", "good for al1.0", "From octocat to al: bad", "From octocat to al: dead"]
    deferred, good, bad, dead = found
    assert (deferred.outcome, deferred.reason, deferred.number) == ("deferred", "rate_limited", 1)
    assert deferred.not_before is not None
    assert (deferred.not_before - deferred.ended_at).total_seconds() == 2.0  # exactly as told
    assert good.started_at >= deferred.not_before
    assert (good.outcome, good.number, good.detail) == ("accepted", 2, None)
    assert bad.outcome == "accepted"
    assert bad.detail is not None
    assert "the template of the configuration all failed" in bad.detail
    assert "division by zero" in bad.detail
    assert (dead.outcome, dead.reason) == ("refused", "forbidden")
    assert "Forbidden: kicked" in str(dead.detail)
    own = [record for record in caplog.records if record.name != "aiohttp.access"]
    assert not [record for record in own if "CANARY" in repr(record.__dict__)]
    assert "CANARY" not in repr(found)


@pytest.mark.predecessor("S-10", "S-13", "S-14", "S-25", "S-46")
async def test_from_a_message_to_groups_and_people(settings: Settings, api: BotApi) -> None:
    settings = with_(settings, telegram_api=api.url)
    seal = load_seal(settings)
    users = {
        "alice": {"telegram": {"username": "al", "id": 123}, "github": {"username": "octocat"}},
        "bob": {"telegram": {"username": "bobby"}, "github": {"username": "bob-gh"}},
    }
    await ensure_topics(settings, [deliveries("chat", 1), deliveries("direct", 1)])
    for name, info in users.items():
        await define(settings, name, {"additional_info": info}, kind="user")
    for name, chat_id in (("chat", GROUP), ("direct", "recipient")):
        sealed = close_secrets(seal, "consumer", name, {"bot_token": TOKEN}, frozenset({"bot_token"}))
        await define(settings, name, {"type": "telegram", "parameters": {"chat_id": chat_id, **sealed}})
    await define(settings, "gh", {"type": "push", "parameters": {"world": "github"}}, kind="producer")
    spec = {"users": list(users), "producers": ["gh"], "consumers": ["chat", "direct"]}
    await define(settings, "all", spec, kind="configuration")
    async with roles(settings, "router", "delivery"):
        messages: list[dict[str, Any]] = [
            {"producer": "gh", "sender": "Bob-GH", "receiver": "octocat", "content": "review me"},
            {"producer": "gh", "sender": "stranger", "content": "to everyone"},
        ]
        await produce(settings, "messages", messages)
        found = await wait_for_attempts(settings, 4, outcome="accepted")
        found = await wait_for_attempts(settings, 1, outcome="suppressed")
    sent = sorted((form["chat_id"], form["text"]) for _, form in api.calls)
    assert sent == [
        (str(GROUP), "From bobby to al: review me"),
        (str(GROUP), "From stranger: to everyone"),
        ("123", "From bobby to al: review me"),
        ("123", "From stranger to al: to everyone"),
    ]
    assert [(a.recipient, a.reason) for a in found if a.outcome == "suppressed"] == [("bob", "no_address")]
