"""What each answer of VK means for a delivery and for a check."""

import logging

import pytest

from consumers import exchange
from notifier import Context, Permanent, Result, Retryable
from notifier.errors import DeliveryError
from notifier.outcome import Outcome, Reason
from tests.rigs.bot_api import Answer, cut, hang_up, raw, stay_silent
from tests.rigs.vk_api import CHAT, TOKEN, VkStub, at, community, fails, make, serving

CODES: list[tuple[int, Outcome, Reason, float | None]] = [
    (1, "deferred", "server_error", None),
    (10, "deferred", "server_error", None),
    (36, "deferred", "server_error", None),
    (43, "deferred", "server_error", None),
    (77_777, "deferred", "server_error", None),  # that nobody knows
    (6, "deferred", "rate_limited", 1.0),
    (9, "deferred", "rate_limited", 300.0),
    (1105, "deferred", "rate_limited", 300.0),
    (29, "deferred", "rate_limited", 3600.0),
    *((code, "refused", "forbidden", None) for code in (30, 37, 900, 901, 902, 912, 917, 922, 925, 932, 935, 939)),
    *((code, "refused", "forbidden", None) for code in (943, 944, 945, 946, 947, 950, 962, 983, 985, 987, 988, 1012)),
    *((code, "refused", "not_found", None) for code in (18, 39, 40, 104, 113, 125, 927, 936)),
    *((code, "refused", "invalid_content", None) for code in (19, 100, 103, 911, 913, 921, 940, 969)),
    *((code, "refused", "unauthorized", None) for code in (2, 4, 5, 14, 16, 17, 20, 21, 23, 24, 25, 27, 28, 34)),
    *((code, "refused", "unauthorized", None) for code in (35, 38, 41, 42, 101, 1114, 1116, 1117, 1118)),
]


async def test_each_error_has_its_meaning_for_all_and_for_one(api: VkStub, context: Context) -> None:
    wrong = []
    async with community() as consumer:
        for number, (code, *meaning) in enumerate(CODES):
            api.answers, api.refuses = [fails(code)], {}
            (whole,) = await consumer.deliver([make(number=2 * number)], context)
            api.answers, api.refuses = [], {CHAT: code}
            (one,) = await consumer.deliver([make(number=2 * number + 1)], context)
            for found in (whole, one):
                assert str(code) in str(found.detail)
                wrong += [(code, found)] * ([found.outcome, found.reason, found.retry_after_s] != meaning)
    assert wrong == []


@pytest.mark.parametrize("code", [3, 7, 8, 15])
async def test_what_may_be_the_token_s_fault_is_one_recipient_s_where_only_one_is_refused(
    api: VkStub, context: Context, code: int
) -> None:
    api.answers, api.refuses = [fails(code)], {CHAT: code}
    async with community() as consumer:
        found = [(await consumer.deliver([make(number=number)], context))[0].reason for number in range(2)]
    assert found[0] == "unauthorized"
    assert found[1] in ("forbidden", "server_error")


@pytest.mark.parametrize(
    ("answer", "outcome", "reason", "retry_after_s"),
    [
        pytest.param(raw(200, b'{"response": 7}'), "accepted", "ok", None, id="a number, as for one recipient"),
        pytest.param(raw(200, b'{"response": true}'), "unknown", "server_error", None, id="no number"),
        pytest.param(raw(200, b'{"response": []}'), "unknown", "server_error", None, id="nothing of the recipient"),
        pytest.param(
            raw(200, b'{"response": [null, 3, {"peer_id": "x"}, {"peer_id": 2000000001}]}'),
            "unknown", "server_error", None, id="odd items",
        ),
        pytest.param(raw(200, b'{"error": "no"}'), "deferred", "server_error", None, id="an error of another form"),
        pytest.param(raw(200, b'{"error": {"error_code": "5"}}'), "deferred", "server_error", None, id="no code"),
        pytest.param(raw(200, b"<html>"), "unknown", "server_error", None, id="garbage"),
        pytest.param(raw(200, b"null"), "unknown", "server_error", None, id="null"),
        pytest.param(raw(200, b"[" * 60_000), "unknown", "server_error", None, id="deep garbage"),
        pytest.param(raw(200, b"1" * 300_000), "unknown", "server_error", None, id="300 kB"),
        pytest.param(raw(429, b"", {"Retry-After": "9"}), "deferred", "rate_limited", 9.0, id="429"),
        pytest.param(raw(401, b""), "refused", "unauthorized", None, id="401"),
        pytest.param(raw(403, b"<html>"), "refused", "forbidden", None, id="403 of a proxy"),
        pytest.param(raw(404, b""), "refused", "unauthorized", None, id="404: not VK"),
        pytest.param(raw(408, b""), "deferred", "server_error", None, id="408"),
        pytest.param(raw(410, b""), "refused", "not_found", None, id="410"),
        pytest.param(raw(407, b""), "deferred", "connection", None, id="407"),
        pytest.param(raw(413, b""), "refused", "invalid_content", None, id="413"),
        pytest.param(raw(414, b""), "refused", "invalid_content", None, id="414"),
        pytest.param(raw(302, b"", {"Location": "/x"}), "deferred", "server_error", None, id="redirect"),
        pytest.param(raw(503, b"", {"Retry-After": "4"}), "deferred", "server_error", 4.0, id="503"),
        pytest.param(raw(502, b"<html>"), "deferred", "server_error", None, id="502"),
        pytest.param(cut(200), "unknown", "server_error", None, id="truncated"),
        pytest.param(cut(500), "deferred", "server_error", None, id="truncated 500"),
        pytest.param(hang_up, "unknown", "connection", None, id="hung up"),
    ],
)  # fmt: skip
async def test_each_answer_has_its_meaning(
    api: VkStub, context: Context, answer: Answer, outcome: Outcome, reason: Reason, retry_after_s: float | None
) -> None:
    api.answers = [answer]
    async with community() as consumer:
        (found,) = await consumer.deliver([make()], context)
        assert (found.outcome, found.reason, found.retry_after_s) == (outcome, reason, retry_after_s)
        assert outcome == "accepted" or found.detail
        assert len(api.calls) == 1
        assert await consumer.deliver([make(number=2)], context) == [Result()]  # none leaves the session broken


async def test_no_answer_in_time_is_unknown(api: VkStub, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "REQUEST_S", 0.3)
    api.answers = [stay_silent]
    async with community() as consumer:
        (found,) = await consumer.deliver([make()], context)
    assert (found.outcome, found.reason) == ("unknown", "timeout")


async def test_nobody_there_is_a_connection_that_failed() -> None:
    async with serving() as gone:
        url = gone.url
    async with community() as consumer:
        (found,) = await consumer.deliver([make()], at(url))
        with pytest.raises(Retryable, match="cannot be reached"):
            await consumer.check(at(url))
    assert (found.outcome, found.reason) == ("deferred", "connection")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(fails(5, f"invalid token {TOKEN}"), id="repeated by the service"),
        pytest.param(fails(1, f"x\n\u202e<script> {TOKEN}" + "y" * 100_000), id="in an odd error"),
        pytest.param(raw(500, TOKEN.encode()), id="in a page"),
        pytest.param(hang_up, id="hung up"),
    ],
)
async def test_the_token_is_in_no_error_and_no_log_line(
    api: VkStub, context: Context, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    api.answers = [answer, answer]
    with caplog.at_level(logging.DEBUG):
        async with community() as consumer:
            (found,) = await consumer.deliver([make()], context)
            with pytest.raises(DeliveryError) as failed:
                await consumer.check(context)
            assert "CANARY" not in repr(consumer.parameters)
    own = [record for record in caplog.records if record.name != "aiohttp.access"]
    for text in (str(found.detail), str(failed.value), repr(failed.value), *(repr(r.__dict__) for r in own)):
        assert "CANARY" not in text
    for text in (str(found.detail), str(failed.value)):
        assert not {"\n", "\u202e"} & set(text)
        assert len(text) <= 400
    assert failed.value.__suppress_context__


async def test_the_check_asks_for_the_conversation_or_for_the_community(api: VkStub, context: Context) -> None:
    async with community() as consumer:
        await consumer.check(context)
        api.refuses = {CHAT: 917}
        with pytest.raises(Permanent, match="917") as refused:
            await consumer.check(context)
        assert refused.value.reason == "forbidden"
    async with community(peer_id="recipient") as consumer:
        await consumer.check(context)
    asked = [("messages.getConversationsById", {"peer_ids": str(CHAT)})] * 2
    assert api.calls == [*asked, ("messages.getConversations", {"count": "1"})]
    async with community(token="vk1.a.another") as consumer:
        with pytest.raises(Permanent, match="is the token right") as refused:
            await consumer.check(context)
        assert refused.value.reason == "unauthorized"
