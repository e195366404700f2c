"""The MAX consumer against a bot API on loopback: what it sends, to whom, and what each answer means."""

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from consumers import exchange
from consumers.max import api as max_api
from consumers.max.markup import html_of
from consumers.max.max import Max, MaxParameters
from notifier import Context, Limit, Marked, Permanent, Result, Retryable, Span, User
from notifier.errors import DeliveryError
from notifier.network import Network
from notifier.outcome import Outcome, Reason
from notifier.plugin import secret_fields
from notifier.registry import Registry
from tests.rigs.bot_api import Answer, cut, hang_up, raw, stay_silent
from tests.rigs.max_api import CHAT, TOKEN, MaxStub, at, bot, make, says, serving, shown_of
from tests.rigs.socks import socks

MARKED = Marked(
    "a <b> & title\nrun x=1 see more",
    (
        Span(start=0, end=13, style="bold"),
        Span(start=4, end=5, style="italic"),
        Span(start=18, end=21, style="code"),
        Span(start=22, end=30, style="link", value='https://example.org/?a="1"&b=2'),
    ),
)


async def test_a_chat_gets_the_text_and_a_person_at_the_own_number(api: MaxStub, context: Context) -> None:
    async with bot(silent=True, link_preview=False) as consumer:
        assert await consumer.deliver([make()], context) == [Result()]
    async with bot(chat_id="recipient") as consumer:
        results = await consumer.deliver([make(address="5001"), make(number=2, address="al")], context)
    assert [result.reason for result in results] == ["ok", "no_address"]
    assert api.calls == [
        ("POST", "/messages", {"chat_id": str(CHAT), "disable_link_preview": "true"}),
        ("POST", "/messages", {"user_id": "5001"}),
    ]
    text = "build failed"
    assert api.bodies == [{"text": text, "notify": False}, {"text": text}]


async def test_marks_become_html_and_what_looks_like_html_is_text(api: MaxStub) -> None:
    async with bot() as consumer:
        assert await consumer.deliver([make()], at(api.url, MARKED)) == [Result()]
    async with bot(markup=False) as consumer:
        assert await consumer.deliver([make()], at(api.url, MARKED)) == [Result()]
    first, second = api.bodies
    assert first == {
        "text": "<b>a &lt;b<i>&gt;</i> &amp; title</b>\nrun <code>x=1</code> "
        '<a href="https://example.org/?a=&quot;1&quot;&amp;b=2">see more</a>',
        "format": "html",
    }
    assert api.shown[0] == MARKED.text
    assert second == {"text": MARKED.plain()}


@given(st.text(alphabet="ab<>&\"' \n", max_size=30), st.data())
@settings(max_examples=60, deadline=None)
def test_html_shows_the_text_whatever_is_in_it(text: str, data: st.DataObject) -> None:
    spans: list[Span] = []
    start, end = 0, len(text)
    for style in ("bold", "italic", "link"):  # each within the one before
        start = data.draw(st.integers(start, end))
        end = data.draw(st.integers(start, end))
        if start < end:
            spans.append(Span(start=start, end=end, style=style, value="https://x.org/<"))
    assert shown_of({"text": html_of(Marked(text, tuple(spans))), "format": "html"}) == text


def test_the_address_of_a_mailbox_is_written_out() -> None:
    for words, value, expected in (
        ("write <us>", "mailto:a@h.example", "write &lt;us&gt; (a@h.example)"),
        ("a@h.example", "mailto:a@h.example", "a@h.example"),
        ("x", "mailto:max://user/1", "x (max:\u200b//user/1)"),
    ):
        assert html_of(Marked(words, (Span(start=0, end=len(words), style="link", value=value),))) == expected


def test_an_address_that_is_none_of_the_web_is_no_link() -> None:
    marked = Marked("click", (Span(start=0, end=5, style="link", value="max://user/1"),))
    assert html_of(marked) == "click"


async def test_addresses_within_the_app_and_turns_of_direction_do_nothing(api: MaxStub, context: Context) -> None:
    async with bot() as consumer:
        await consumer.deliver([make("MAX://user/1 \u202ex")], context)
    assert api.shown == ["MAX:\u200b//user/1 x"]


async def test_markup_that_is_refused_is_sent_plain_once_and_told(api: MaxStub) -> None:
    api.answers = [says(400, "proto.payload", "bad markup")]
    async with bot() as consumer:
        (found,) = await consumer.deliver([make()], at(api.url, MARKED))
        assert api.bodies == [{"text": MARKED.plain()}]
        assert (found.outcome, found.reason) == ("accepted", "ok")
        assert "sent plain, since MAX refused the markup" in str(found.detail)
        api.answers = [says(400, "proto.payload", "bad markup")] * 2
        (found,) = await consumer.deliver([make()], at(api.url, MARKED))
        assert (found.outcome, found.reason) == ("refused", "invalid_content")


async def test_who_has_another_number_since_gets_all_parts(api: MaxStub) -> None:
    text = Marked("word " * 1500)
    api.answers = [None, says(503)]
    async with bot(chat_id="recipient") as consumer:
        (first,) = await consumer.deliver([make(address="1")], at(api.url, text))
        assert first.outcome == "deferred"
        assert await consumer.deliver([make(address="2")], at(api.url, text)) == [Result()]
    assert [query["user_id"] for _, _, query, *_ in api.calls] == ["1", "1", "2", "2"]


async def test_a_long_text_arrives_whole_in_parts_and_on_with_the_part_that_failed(api: MaxStub) -> None:
    line = "\U0001f600 tr\u00e9s <long> \ud55c\uad6d\uc5b4 & \u0ba8\u0bbf "
    marked = Marked(
        line * 600, tuple(Span(start=n * len(line), end=n * len(line) + 5, style="bold") for n in range(600))
    )
    api.answers = [None, says(429, "too.many.requests", Retry_After="2")]
    async with bot() as consumer:
        (first,) = await consumer.deliver([make()], at(api.url, marked))
        assert (first.reason, first.retry_after_s) == ("rate_limited", None)
        assert "part 2 of" in str(first.detail)
        assert await consumer.deliver([make()], at(api.url, marked)) == [Result()]
    assert "".join(text.partition("\n")[2] for text in api.shown).replace(" ", "") == marked.text.replace(" ", "")
    numbers = [text.partition("/")[0] for text in api.shown]
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert all(body["format"] == "html" for body in api.bodies)


async def test_30_000_characters_of_all_kinds_arrive_whole(api: MaxStub) -> None:
    kinds = [
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U0001f1f7\U0001f1fa",
        "\ud55c\uad6d\uc5b4",
        "\u0ba8\u0bbf",
        "code <x>",
        "https://example.org/a?b=1",
    ]
    words = (kinds * 2000)[:9000]
    spans, at_ = [], 0
    for number, word in enumerate(words):
        if word.startswith("code") and number % 30 == 4:
            spans.append(Span(start=at_, end=at_ + len(word), style="code"))
        at_ += len(word) + 1
    marked = Marked(" ".join(words), tuple(spans)).cut(0, 30_000)
    async with bot() as consumer:
        assert await consumer.deliver([make()], at(api.url, marked)) == [Result()]
    assert len(api.shown) > 1
    assert " ".join(text.partition("\n")[2].strip() for text in api.shown) == marked.text.strip()
    assert "".join(body["text"] for body in api.bodies).count("<code>code &lt;x&gt;</code>") == len(marked.spans)


async def test_a_text_beyond_the_parts_goes_as_a_file(
    api: MaxStub, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(max_api, "_READY_S", (0.01, 0.01))
    api.ready_after = 2
    content = "word \U0001f600 " * 10_000
    async with bot() as consumer:
        (found,) = await consumer.deliver([make(content)], context)
        assert found == Result(detail="sent as a file, since it does not fit into 10 parts")
        (body,) = api.bodies
        assert body["attachments"] == [{"type": "file", "payload": {"token": "file-0"}}]
        assert 500 < len(body["text"]) <= 1000
        assert body["text"].endswith("\n\u2026")
        assert api.files == {"file-0": f"{content}"}
        assert consumer.preview(make(), content).endswith("(all of it as a file)")
        api.ready_after = 9
        (found,) = await consumer.deliver([make(content, 2)], context)
        assert (found.outcome, found.reason) == ("deferred", "server_error")


async def test_a_file_goes_to_no_private_address(api: MaxStub, context: Context) -> None:
    api.store = f"{api.url}/store?sig=CANARY-key"
    guarded = at(api.url)
    object.__setattr__(guarded, "network", Network())
    async with bot() as consumer:
        (found,) = await consumer.deliver([make("word " * 20_000)], guarded)
        assert (found.outcome, found.reason) == ("deferred", "server_error")
        assert "CANARY" not in str(found.detail)
        assert api.files == {}
        api.answers = [raw(200, b'{"url": 7}')]
        (found,) = await consumer.deliver([make("word " * 20_000, 2)], guarded)
    assert found.detail == "MAX names no address for an upload"


@pytest.mark.parametrize(
    ("answer", "outcome", "reason", "retry_after_s"),
    [
        pytest.param(says(429, "too.many.requests", **{"Retry-After": "9"}), "deferred", "rate_limited", 9.0, id="429"),
        pytest.param(says(429), "deferred", "rate_limited", None, id="429 of a gateway"),
        pytest.param(says(401, "verify.token"), "refused", "unauthorized", None, id="401"),
        pytest.param(says(403, "verify.token"), "refused", "unauthorized", None, id="403 of the token"),
        pytest.param(says(403, "deprecated.token"), "refused", "unauthorized", None, id="403 of the token's place"),
        pytest.param(says(403, "chat.denied", "error.dialog.suspended"), "refused", "forbidden", None, id="stopped"),
        pytest.param(says(403, "access.denied"), "refused", "forbidden", None, id="no right"),
        pytest.param(says(403, "new.code"), "refused", "forbidden", None, id="403 of a kind that nobody knows"),
        pytest.param(says(403), "refused", "forbidden", None, id="403 of a proxy"),
        pytest.param(says(404, "chat.not.found"), "refused", "not_found", None, id="no chat"),
        pytest.param(says(404, "dialog.not.found"), "refused", "not_found", None, id="no dialogue"),
        pytest.param(says(404, "new.code"), "refused", "not_found", None, id="404 with a code"),
        pytest.param(says(404), "refused", "unauthorized", None, id="404: not MAX"),
        pytest.param(says(405), "refused", "not_found", None, id="405"),
        pytest.param(says(400, "proto.payload"), "refused", "invalid_content", None, id="400"),
        pytest.param(says(413), "refused", "invalid_content", None, id="413"),
        pytest.param(says(407), "deferred", "connection", None, id="407"),
        pytest.param(says(500, "internal"), "deferred", "server_error", None, id="500"),
        pytest.param(says(502), "deferred", "server_error", None, id="502"),
        pytest.param(
            says(503, "service.unavailable", **{"Retry-After": "4"}), "deferred", "server_error", 4.0, id="503"
        ),
        pytest.param(raw(302, b"", {"Location": "/x"}), "deferred", "server_error", None, id="redirect"),
        pytest.param(raw(200, b'{"code": "chat.denied"}'), "refused", "forbidden", None, id="refused with 200"),
        pytest.param(raw(200, b'{"code": "new", "message": []}'), "deferred", "server_error", None, id="odd with 200"),
        pytest.param(raw(200, b"<html>"), "unknown", "server_error", None, id="garbage"),
        pytest.param(raw(200, b"[]"), "unknown", "server_error", None, id="a list"),
        pytest.param(raw(200, b"[" * 60_000), "unknown", "server_error", None, id="deep garbage"),
        pytest.param(raw(200, b"1" * 300_000), "unknown", "server_error", None, id="300 kB"),
        pytest.param(cut(200), "unknown", "server_error", None, id="truncated"),
        pytest.param(cut(500), "deferred", "server_error", None, id="truncated 500"),
        pytest.param(hang_up, "unknown", "connection", None, id="hung up"),
        pytest.param(stay_silent, "unknown", "timeout", None, id="time-out"),
    ],
)  # fmt: skip
async def test_each_answer_has_its_meaning(
    api: MaxStub,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    outcome: Outcome,
    reason: Reason,
    retry_after_s: float | None,
) -> None:
    if answer is stay_silent:
        monkeypatch.setattr(exchange, "REQUEST_S", 0.3)
    api.answers = [answer]
    async with bot() as consumer:
        (found,) = await consumer.deliver([make()], context)
        assert (found.outcome, found.reason, found.retry_after_s) == (outcome, reason, retry_after_s)
        assert found.detail
        assert len(api.calls) == 1
        monkeypatch.setattr(exchange, "REQUEST_S", 60.0)
        assert await consumer.deliver([make(number=2)], context) == [Result()]  # none leaves the session broken


async def test_the_check_asks_for_the_chat_or_for_the_bot(api: MaxStub, context: Context) -> None:
    async with bot() as consumer:
        await consumer.check(context)
        api.answers = [says(404, "chat.not.found"), hang_up, hang_up]  # aiohttp asks again by itself
        with pytest.raises(Permanent, match=r"chat\.not\.found"):
            await consumer.check(context)
        with pytest.raises(Retryable):
            await consumer.check(context)
    async with bot(chat_id="recipient") as consumer:
        await consumer.check(context)
    assert [path for _, path, _ in api.calls] == [f"/chats/{CHAT}"] * 4 + ["/me"]
    async with bot(token="another-token") as consumer:
        with pytest.raises(Permanent, match=r"verify\.token") as refused:
            await consumer.check(context)
        assert refused.value.reason == "unauthorized"
    async with serving() as gone:
        url = gone.url
    async with bot() as consumer:
        (found,) = await consumer.deliver([make()], at(url))
    assert (found.outcome, found.reason) == ("deferred", "connection")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(says(401, "verify.token", f"invalid {TOKEN}"), id="repeated by the service"),
        pytest.param(says(400, f"x\n\u202e<script>{TOKEN}", "y" * 10_000), id="in an odd code"),
        pytest.param(raw(500, TOKEN.encode()), id="in a page"),
        pytest.param(hang_up, id="hung up"),
    ],
)
async def test_the_token_is_in_no_error_and_no_log_line(
    api: MaxStub, context: Context, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    api.answers = [answer] * 3
    with caplog.at_level(logging.DEBUG):
        async with bot() as consumer:
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


async def test_max_is_reached_by_the_proxy_of_the_parameters(api: MaxStub, context: Context) -> None:
    async with socks("al:CANARY") as proxy, bot(proxy=f"socks5://al:CANARY@{proxy.address}") as consumer:
        assert await consumer.deliver([make("word " * 20_000)], context) == [
            Result(detail="sent as a file, since it does not fit into 10 parts")
        ]
        assert len(proxy.asked) == 2  # the API, and the store


@pytest.mark.parametrize(
    ("info", "address"),
    [
        pytest.param({"max": [{"username": "al"}, {"id": "456"}]}, "456", id="of the first that has one"),
        pytest.param({"max": {"username": "al"}}, None, id="no id"),
        pytest.param({"max": {"id": -5}}, None, id="no person"),
        pytest.param({"max": {"id": True}}, None, id="no number"),
        pytest.param({"vk": {"id": 1}}, None, id="another world"),
    ],
)
async def test_the_address_of_a_person_is_the_max_id(info: dict[str, Any], address: str | None) -> None:
    async with bot(chat_id="recipient") as consumer:
        assert consumer.address(User(username="alice", additional_info=info)) == address


async def test_limits_belong_to_the_bot_and_to_the_chat() -> None:
    async with bot() as chat, bot(chat_id="recipient") as direct, bot(token="another-token") as other:
        assert chat.credential() == direct.credential() != other.credential()
        assert direct.limits(make(address="7")) == [
            Limit(count=30, seconds=1.0),
            Limit(count=2, seconds=1.0, of="7"),
        ]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        pytest.param({"token": "no token"}, "token", id="no token"),
        pytest.param({"token": "a\nb: c12345678"}, "token", id="a header in the token"),
        pytest.param({"chat_id": "someone"}, "chat_id", id="neither number nor recipient"),
        pytest.param({"chat_id": 0}, "chat_id", id="nought"),
        pytest.param({"chat_id": True}, "chat_id", id="true"),
        pytest.param({"chat_id": 2**63}, "chat_id", id="too large"),
        pytest.param({"colour": 1}, "colour", id="unknown"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ValidationError) as refused:
        MaxParameters.model_validate({"token": TOKEN, "chat_id": CHAT, **wrong})
    assert {str(error["loc"][0]) for error in refused.value.errors()} == {pointer}
    assert "CANARY" not in str(refused.value)


def test_the_token_is_a_secret_and_the_router_needs_none() -> None:
    assert secret_fields(MaxParameters) == {"token", "proxy"}
    parameters = {"token": "sealed:abc:xyz", "chat_id": str(CHAT)}
    consumer = Registry([Max]).build("consumer", "chat", "max", parameters, None)
    assert isinstance(consumer, Max)
    assert (consumer.world_of(), consumer.batch(), consumer.parameters.chat_id) == ("max", 1, CHAT)
