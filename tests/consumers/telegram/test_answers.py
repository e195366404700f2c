"""What each answer of the Bot API means for a delivery and for a check, through the real aiogram."""

import logging
import time

import pytest

from consumers.telegram import bot as telegram_bot
from notifier import Context, Permanent, Result, Retryable
from notifier.errors import DeliveryError
from notifier.outcome import Outcome, Reason
from notifier.plugin import result_of
from tests.rigs.bot_api import (
    TOKEN,
    Answer,
    BotApi,
    at,
    bot,
    cut,
    hang_up,
    make,
    raw,
    result,
    says,
    serving,
    stay_silent,
)


@pytest.mark.predecessor("S-47")
@pytest.mark.parametrize(
    ("answer", "outcome", "reason", "retry_after_s"),
    [
        pytest.param(
            says(429, "Too Many Requests: retry after 17", retry_after=17), "deferred", "rate_limited", 17.0, id="429"
        ),
        pytest.param(raw(429, b"slow", {"Retry-After": "9"}), "deferred", "rate_limited", 9.0, id="429 of a proxy"),
        pytest.param(says(429), "deferred", "rate_limited", None, id="429 that says nothing"),
        pytest.param(
            raw(429, b'{"ok": false, "parameters": {"retry_after": 20.5}}'), "deferred", "rate_limited", 20.5,
            id="429 with a fraction",
        ),
        pytest.param(
            raw(429, b'{"ok": false, "parameters": {"retry_after": -5}}'), "deferred", "rate_limited", -5.0,
            id="429 with a time in the past",
        ),
        pytest.param(
            raw(429, b'{"ok": false, "parameters": {"retry_after": 3}}', {"Retry-After": "9"}),
            "deferred", "rate_limited", 9.0, id="429 that says two things",
        ),
        pytest.param(raw(429, b"[1]", {"Retry-After": "0"}), "deferred", "rate_limited", 0.0, id="429 with zero"),
        pytest.param(
            raw(503, b"", {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), "deferred", "server_error",
            pytest.approx(-time.time(), abs=3600), id="503 with a date",
        ),
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
        pytest.param(says(404, "Not Found"), "refused", "unauthorized", None, id="404"),
        pytest.param(
            says(409, "Conflict: terminated by other getUpdates request"), "deferred", "server_error", None, id="409"
        ),
        pytest.param(says(413, "Request Entity Too Large"), "refused", "invalid_content", None, id="413"),
        pytest.param(says(400, "Bad Request: SLOWMODE_WAIT_30"), "deferred", "rate_limited", 30.0, id="slow mode"),
        pytest.param(says(400, "Bad Request: FLOOD_WAIT_7"), "deferred", "rate_limited", 7.0, id="flood"),
        pytest.param(raw(407, b""), "deferred", "connection", None, id="407 of a proxy"),
        pytest.param(says(408, "Request Timeout"), "deferred", "server_error", None, id="408"),
        pytest.param(says(425, "Too Early"), "deferred", "server_error", None, id="425"),
        pytest.param(raw(406, b"<html>"), "refused", "invalid_content", None, id="406 of a proxy"),
        pytest.param(
            raw(200, b'{"ok": false, "error_code": 429, "parameters": {"retry_after": 5}}'),
            "deferred", "rate_limited", 5.0, id="429 sent on with 200",
        ),
        pytest.param(
            raw(200, b'{"ok": false, "error_code": 502}'), "deferred", "server_error", None, id="502 sent on with 200"
        ),
        pytest.param(
            raw(200, b'{"ok": false, "error_code": 7}'), "deferred", "server_error", None, id="no error code"
        ),
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


REFUSED: list[tuple[int, str, Reason]] = [
    (400, "Bad Request: chat not found", "not_found"),
    (400, "Bad Request: user not found", "not_found"),
    (400, "Bad Request: message thread not found", "not_found"),
    (400, "Bad Request: chat_id is empty", "not_found"),
    (400, "Bad Request: PEER_ID_INVALID", "not_found"),
    (400, "Bad Request: CHAT_ID_INVALID", "not_found"),
    (400, "Bad Request: CHANNEL_INVALID", "not_found"),
    (400, "Bad Request: USER_ID_INVALID", "not_found"),
    (400, "Bad Request: TOPIC_ID_INVALID", "not_found"),
    (400, "Bad Request: TOPIC_DELETED", "not_found"),
    (400, "Bad Request: invalid topic identifier specified", "not_found"),
    (400, "Bad Request: invalid user_id specified", "not_found"),
    (400, "Bad Request: USERNAME_NOT_OCCUPIED", "not_found"),
    (400, "Bad Request: chat was deleted", "not_found"),
    (400, "Bad Request: group chat was upgraded to a supergroup chat", "not_found"),
    (400, "Bad Request: CHANNEL_PRIVATE", "forbidden"),
    (400, "Bad Request: CHAT_FORBIDDEN", "forbidden"),
    (400, "Bad Request: CHAT_WRITE_FORBIDDEN", "forbidden"),
    (400, "Bad Request: CHAT_SEND_PLAIN_FORBIDDEN", "forbidden"),
    (400, "Bad Request: CHAT_GUEST_SEND_FORBIDDEN", "forbidden"),
    (400, "Bad Request: CHAT_RESTRICTED", "forbidden"),
    (400, "Bad Request: CHAT_ADMIN_REQUIRED", "forbidden"),
    (400, "Bad Request: USER_BANNED_IN_CHANNEL", "forbidden"),
    (400, "Bad Request: USER_IS_BLOCKED", "forbidden"),
    (400, "Bad Request: USER_PRIVACY_RESTRICTED", "forbidden"),
    (400, "Bad Request: PRIVACY_PREMIUM_REQUIRED", "forbidden"),
    (400, "Bad Request: INPUT_USER_DEACTIVATED", "forbidden"),
    (400, "Bad Request: TOPIC_CLOSED", "forbidden"),
    (400, "Bad Request: not enough rights to send text messages to the chat", "forbidden"),
    (400, "Bad Request: have no rights to send a message", "forbidden"),
    (400, "Bad Request: need administrator rights in the channel chat", "forbidden"),
    (400, "Bad Request: message text is empty", "invalid_content"),
    (400, "Bad Request: message is too long", "invalid_content"),
    (400, "Bad Request: can't parse entities: Unsupported start tag", "invalid_content"),
    (400, "Bad Request: strings must be encoded in UTF-8", "invalid_content"),
    (402, "Payment Required", "forbidden"),
    (403, "Forbidden: bot was kicked from the supergroup chat", "forbidden"),
    (403, "Forbidden: user is deactivated", "forbidden"),
    (403, "Forbidden: bot can't initiate conversation with a user", "forbidden"),
    (405, "Method Not Allowed", "not_found"),
    (406, "Not Acceptable: TOPIC_DELETED", "not_found"),
    (406, "Not Acceptable: CHANNEL_PRIVATE", "forbidden"),
    (406, "Not Acceptable", "invalid_content"),
    (410, "Gone", "not_found"),
    (414, "URI Too Long", "invalid_content"),
    (418, "a teapot", "invalid_content"),
    (422, "Unprocessable Entity", "invalid_content"),
    (431, "Request Header Fields Too Large", "invalid_content"),
    (451, "Unavailable For Legal Reasons", "forbidden"),
]


async def test_what_cannot_heal_is_given_up_with_its_reason(api: BotApi, context: Context) -> None:
    wrong = []
    async with bot() as consumer:
        for number, (status, said, reason) in enumerate(REFUSED):
            gateway = b'{"ok": false, "error_code": %d, "description": "%s"}' % (status, said.encode())
            for answer in (says(status, said), raw(200, gateway)):  # some gateways send everything on with 200
                api.answers = [answer]
                found = await result(consumer, make(number=number), context)
                if (found.outcome, found.reason) != ("refused", reason) or said not in str(found.detail):
                    wrong.append((status, said, found))
    assert wrong == []


async def test_the_topic_general_is_written_to_without_its_number(api: BotApi, context: Context) -> None:
    async with bot(thread_id=1) as consumer:
        assert await result(consumer, make(), context) == Result()
    assert [form.get("message_thread_id") for _, form in api.calls] == [None]


async def test_no_answer_in_time_is_unknown(api: BotApi, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telegram_bot, "REQUEST_S", 0.3)
    api.answers = [stay_silent]
    async with bot() as consumer:
        found = await result(consumer, make(), context)
    assert (found.outcome, found.reason) == ("unknown", "timeout")


async def test_nobody_there_is_a_connection_that_failed() -> None:
    async with serving() as gone:
        url = gone.url
    async with bot() as consumer:
        found = await result(consumer, make(), at(url))
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
    if answer is stay_silent:
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
    pytest.param(says(404, "Not Found"), Permanent, "unauthorized", None, id="404"),
    pytest.param(says(409, "Conflict"), Retryable, "server_error", None, id="409"),
    pytest.param(says(429, "Too Many Requests", retry_after=17), Retryable, "rate_limited", 17.0, id="429"),
    pytest.param(says(502, "Bad Gateway"), Retryable, "server_error", None, id="5xx"),
    pytest.param(stay_silent, Retryable, "timeout", None, id="time-out"),
    pytest.param(cut(200), Retryable, "server_error", None, id="truncated body"),
]


@pytest.mark.parametrize("work", ["deliver", "document", "check"])
@pytest.mark.parametrize(("answer", "kind", "reason", "retry_after_s"), EIGHT)
async def test_a_text_a_document_and_the_check_meet_the_same_failures(
    api: BotApi,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    kind: type[DeliveryError],
    reason: Reason,
    retry_after_s: float | None,
    work: str,
) -> None:
    if answer is stay_silent:
        monkeypatch.setattr(telegram_bot, "REQUEST_S", 0.3)
        monkeypatch.setattr(telegram_bot, "DOCUMENT_S", 0.3)
    api.answers = [answer]
    delivery = make("word " * 10_000 if work == "document" else "text")
    async with bot() as consumer:
        if work == "check":
            with pytest.raises(kind) as raised:
                await consumer.check(context)
            found = result_of(raised.value)
        else:
            found = await result(consumer, delivery, context)
        assert (found.reason, found.retry_after_s) == (reason, retry_after_s)
        assert (found.outcome == "refused") is (kind is Permanent)
        methods = {"deliver": "sendMessage", "document": "sendDocument", "check": "getChat"}
        assert [method for method, _ in api.calls] == [methods[work]]
        monkeypatch.setattr(telegram_bot, "REQUEST_S", 60.0)
        await consumer.check(context)  # nothing of it is left behind
