"""The forms for chats: what they send, how long texts arrive, and what each service's answers mean."""

import re
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from consumers.webhook import Discord, GoogleChat, Mattermost, Slack, Teams
from consumers.webhook.incoming import Incoming, Message
from notifier import Context, Delivery, Marked, Permanent, Rendered, Result, Retryable, Span
from notifier.network import Network
from notifier.outcome import Outcome, Reason
from tests.rigs import chat_hooks
from tests.rigs.bot_api import Answer, cut, hang_up, raw
from tests.rigs.chat_hooks import enforcing
from tests.rigs.hook_server import HookServer, Sent, result
from tests.rigs.plugin_world import make_delivery

FORMS: dict[type[Incoming[Any]], Callable[[Sent], str]] = {
    Slack: chat_hooks.slack,
    Mattermost: chat_hooks.mattermost,
    Discord: chat_hooks.discord,
    Teams: chat_hooks.teams,
    GoogleChat: chat_hooks.google_chat,
}
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.type)


@asynccontextmanager
async def opened(form: type[Incoming[Any]], url: str, **parameters: Any) -> AsyncIterator[Incoming[Any]]:
    consumer = form(form.Parameters.model_validate({"url": url + "/hook/CANARY", **parameters}))
    try:
        yield consumer
    finally:
        await consumer.close()


def saying(context: Context, text: Marked) -> Context:
    async def rendered(delivery: Delivery) -> Rendered:
        return Rendered(subject="", body=text, templated=True)

    return replace(context, rendered=rendered)


def marked(*pieces: tuple[str, str, str] | str) -> Marked:
    text, spans = "", []
    for piece in pieces:
        words, style, value = (piece, "", "") if isinstance(piece, str) else piece
        if style:
            spans.append(Span(start=len(text), end=len(text) + len(words), style=style, value=value))  # type: ignore[arg-type]
        text += words
    return Marked(text, tuple(spans))


@pytest.mark.parametrize(
    ("text", "beside"),
    [
        pytest.param(marked("short ", ("and bold", "bold", "")), False, id="short"),
        pytest.param(Marked("word " * 1000), True, id="long"),
        pytest.param(marked(*(("x ", "bold", ""),) * 300), True, id="of many marks"),
        pytest.param(marked(*(("x ", "link", "https://ci.example/" + "y" * 900),) * 9), True, id="of long addresses"),
    ],
)
async def test_what_takes_long_to_cut_is_cut_beside_the_loop(
    server: HookServer, context: Context, text: Marked, beside: bool
) -> None:
    threads: list[threading.Thread] = []

    class Watched(Slack):
        def messages(self, text: Marked) -> Sequence[Message]:
            threads.append(threading.current_thread())
            return super().messages(text)

    async with opened(Watched, server.url) as consumer:
        assert (await result(consumer, make_delivery(), saying(context, text))).outcome == "accepted"
    assert [thread is not threading.current_thread() for thread in threads] == [beside]


LOOKS = marked(
    ("Build *42*", "bold", ""), "\nby ", ("me", "italic", ""), ": ", ("a_b`c", "code", ""), " at ",
    ("the log", "link", "https://ci.example/1_(2)"), "\n", ("x = 1\n  y", "pre", "python"), "\nend @all <!channel>",
)  # fmt: skip


async def written(form: type[Incoming[Any]], text: Marked) -> Any:
    consumer = form(form.Parameters.model_validate({"url": "https://chat.example/hook"}))
    return consumer.write(text)


async def test_slack_is_told_the_look_of_each_piece() -> None:
    message = await written(Slack, LOOKS)
    assert message["blocks"][0]["elements"] == [
        {
            "type": "rich_text_section",
            "elements": [
                {"type": "text", "text": "Build *42*", "style": {"bold": True}},
                {"type": "text", "text": "\nby "},
                {"type": "text", "text": "me", "style": {"italic": True}},
                {"type": "text", "text": ": "},
                {"type": "text", "text": "a_b`c", "style": {"code": True}},
                {"type": "text", "text": " at "},
                {"type": "link", "url": "https://ci.example/1_(2)", "text": "the log"},
                {"type": "text", "text": "\n"},
            ],
        },
        {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "x = 1\n  y"}]},
        {"type": "rich_text_section", "elements": [{"type": "text", "text": "end @all <!channel>"}]},
    ]
    assert message["text"].endswith("end @all &lt;!channel&gt;")


async def test_teams_is_told_the_look_of_each_piece() -> None:
    card = (await written(Teams, LOOKS))["attachments"][0]["content"]
    assert [block["inlines"] for block in card["body"]] == [
        [{"type": "TextRun", "text": "Build *42*", "weight": "bolder"}],
        [
            {"type": "TextRun", "text": "by "},
            {"type": "TextRun", "text": "me", "italic": True},
            {"type": "TextRun", "text": ": "},
            {"type": "TextRun", "text": "a_b`c", "fontType": "monospace"},
            {"type": "TextRun", "text": " at "},
            {
                "type": "TextRun",
                "text": "the log",
                "selectAction": {"type": "Action.OpenUrl", "url": "https://ci.example/1_(2)"},
            },
        ],
        [{"type": "TextRun", "text": "x = 1", "fontType": "monospace"}],
        [{"type": "TextRun", "text": "  y", "fontType": "monospace"}],
        [{"type": "TextRun", "text": "end @all <!channel>"}],
    ]


async def test_google_chat_is_told_html() -> None:
    paragraph = (await written(GoogleChat, LOOKS))["cardsV2"][0]["card"]["sections"][0]["widgets"][0]
    assert paragraph["textParagraph"]["text"] == (
        "<b>Build *42*</b><br>by <i>me</i>: a_b`c at "
        '<a href="https://ci.example/1_(2)">the log</a><br>x = 1<br>  y<br>end @all &lt;!channel&gt;'
    )


@pytest.mark.parametrize("form", [Mattermost, Discord])
async def test_markdown_says_the_look_of_each_piece(form: type[Incoming[Any]]) -> None:
    message = await written(form, LOOKS)
    less = r"\<" if form is Discord else "<"
    assert message.get("content", message.get("text")) == (
        "**Build \\*42\\***\nby *me*: `` a_b`c `` at [the log](https://ci.example/1_%282%29)\n"
        f"```\nx = 1\n  y\n```\nend @\u200ball {less}!channel\\>"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# no heading", r"\# no heading"),
        ("> no quote", r"\> no quote"),
        ("- no list", r"\- no list"),
        ("||no spoiler||", r"\|\|no spoiler\|\|"),
        ("[no](https://evil.example)", r"\[no\](https://evil.example)"),
        ("see https://x.example/a_b_c*d*, yes_no", r"see https://x.example/a_b_c*d*, yes\_no"),
        (r"C:\dir\*", r"C:\\dir\\\*"),
        ("@everyone and a@b.example", "@\u200beveryone and a@\u200bb.example"),
        ("```", r"\`\`\`"),
    ],
)
async def test_what_a_message_says_is_no_markdown(text: str, expected: str) -> None:
    assert (await written(Mattermost, Marked(text)))["text"] == expected
    assert (await written(Discord, Marked(text)))["content"] == expected


@pytest.mark.parametrize("form", [Mattermost, Discord])
async def test_an_address_stays_within_its_link(form: type[Incoming[Any]]) -> None:
    message = await written(form, marked(("log", "link", "https://x.example/a)b\\"), " after"))
    assert message.get("content", message.get("text")) == "[log](https://x.example/a%29b%5C) after"


async def test_an_indented_line_is_no_code_to_mattermost() -> None:
    assert (await written(Mattermost, Marked("a\n    b\n\tc")))[
        "text"
    ] == "a\n\u00a0\u00a0\u00a0\u00a0b\n\u00a0\u00a0\u00a0\u00a0c"


async def test_marks_that_touch_are_kept_apart() -> None:
    text = Marked("ab c", (Span(start=0, end=1, style="bold"), Span(start=1, end=4, style="italic")))
    assert (await written(Discord, text))["content"] == "**a**\u200b*b c*"
    nested = Marked("abc", (Span(start=0, end=3, style="bold"), Span(start=1, end=2, style="italic")))
    assert (await written(Discord, nested))["content"] == "**a**\u200b***b***\u200b**c**"
    blanks = Marked("x a y", (Span(start=1, end=4, style="bold"),))
    assert (await written(Discord, blanks))["content"] == "x **a** y"


def long_text(characters: int) -> Marked:
    """A text of all kinds of things, with a block of code and links, and a number on each line."""
    pieces: list[tuple[str, str, str] | str] = []
    length = number = 0
    while length < characters:
        number += 1
        line: list[tuple[str, str, str] | str] = [
            f"{number} the 👩‍👩‍👧‍👦 and 🇺🇦🇰🇷, 한국어 문장, தமிழ் உரை, e\u0301 <b>&amp; *_~`|# ",
            ("here", "link", f"https://ci.example/job/{number}?a=1&b=2"),
            "\n" if number % 7 else "\n\n",
        ]
        if number % 20 == 0:
            line.append((f"def f{number}():\n    return '`*_'\n" * 3, "pre", "python"))
        length += sum(len(piece if isinstance(piece, str) else piece[0]) for piece in line)
        pieces += line
    return marked(*pieces)


@pytest.mark.parametrize("form", [form for form in FORMS if form is not Discord], ids=lambda form: form.type)
async def test_a_long_text_arrives_whole_in_parts_that_are_legal(
    server: HookServer, context: Context, form: type[Incoming[Any]]
) -> None:
    seen: list[str] = []
    server.limit = enforcing(FORMS[form], seen)
    text = long_text(30_000)
    async with opened(form, server.url) as consumer:
        found = await result(consumer, make_delivery(), saying(context, text))
    assert found.outcome == "accepted"
    assert len(seen) == len(server.sent) > 1
    for number, part in enumerate(seen, 1):
        assert part.startswith(f"{number}/{len(seen)}\n")
    whole = "".join(part.partition("\n")[2] for part in seen)
    if form is Mattermost:  # without what makes links and blocks
        whole = re.sub(r"\[here]\([^)]*\)", "here", whole).replace("```\n", "").replace("\n```", "")
    assert _bare(whole) == _bare(text.text)


async def test_a_text_too_long_for_discord_is_a_file(server: HookServer, context: Context) -> None:
    seen: list[str] = []
    server.limit = enforcing(chat_hooks.discord, seen)
    text = long_text(30_000)
    async with opened(Discord, server.url) as consumer:
        assert (await result(consumer, make_delivery(), saying(context, text))).outcome == "accepted"
        (head,) = seen
        seen.clear()
        shorter = await result(consumer, make_delivery(number=2), saying(context, long_text(6000)))
    assert "characters are left out" in head
    form = chat_hooks.form_of(server.sent[0])
    assert form.keys() == {"payload_json", "files[0]"}
    assert form["files[0]"].decode() == text.plain()
    assert b'filename="message.txt"' in server.sent[0].body
    assert shorter.outcome == "accepted"
    assert 1 < len(seen) <= 10
    whole = re.sub(r"\[here]\([^)]*\)", "here", "".join(part.partition("\n")[2] for part in seen))
    assert _bare(whole) == _bare(long_text(6000).text)


def _bare(text: str) -> str:
    """What is left without white space and backticks, which Markdown puts around code too."""
    return re.sub(r"[\s`]+", "", text)


@every_form
async def test_the_next_try_goes_on_with_the_part_that_failed(
    server: HookServer, context: Context, form: type[Incoming[Any]]
) -> None:
    text = long_text(8000 if form is Discord else 30_000)
    permits: list[int] = []

    async def permit() -> None:
        permits.append(len(server.sent))

    context = replace(saying(context, text), permit=permit)
    server.answers = [raw(200, b""), raw(500, b"")]
    async with opened(form, server.url) as consumer:
        found = await result(consumer, make_delivery(), context)
        assert (found.outcome, found.reason) == ("deferred", "server_error")
        assert "(part 2 of " in str(found.detail)
        failed = server.sent[1].body
        assert permits == [1]
        assert (await result(consumer, make_delivery(), context)).outcome == "accepted"
        assert server.sent[2].body == failed
        count = len(server.sent)
        assert (await result(consumer, make_delivery(number=2), context)).outcome == "accepted"
        assert len(server.sent) - count == count - 1  # another delivery begins at its beginning


@every_form
async def test_what_has_nothing_to_see_is_refused_and_odd_texts_arrive(
    server: HookServer, context: Context, form: type[Incoming[Any]]
) -> None:
    server.limit = enforcing(FORMS[form], [])
    async with opened(form, server.url) as consumer:
        for text in ("", " \u200b\n", "\x1b[31m"):
            found = await result(consumer, make_delivery(), saying(context, Marked(text)))
            assert (found.outcome, found.reason) == ("refused", "invalid_content")
        assert server.sent == []
        for text in (
            "\ud800x",
            "\0\x07y",
            "`" * 3000,
            "\\" * 5000,
            "@" * 100,
            "x" * 100_000,
            "\n" * 50 + "z",
            "&" * 9000,
        ):
            found = await result(consumer, make_delivery(), saying(context, Marked(text)))
            assert found.outcome == "accepted", text[:10]
        found = await result(consumer, make_delivery(message=b'{"producer": 1}'), context)
        assert (found.outcome, found.reason) == ("refused", "invalid_content")


TABLE: list[tuple[type[Incoming[Any]] | None, Answer, Outcome, Reason, float | None]] = [
    (None, raw(200, b"ok"), "accepted", "ok", None),
    (None, raw(202, b""), "accepted", "ok", None),
    (None, cut(200), "accepted", "ok", None),
    (None, raw(429, b"", {"Retry-After": "30"}), "deferred", "rate_limited", 30.0),
    (None, raw(429, b"<html>"), "deferred", "rate_limited", None),
    (None, raw(503, b"", {"Retry-After": "7"}), "deferred", "server_error", 7.0),
    (None, raw(500, b"[" * 90_000), "deferred", "server_error", None),
    (None, raw(302, b"", {"Location": "https://evil.example"}), "deferred", "server_error", None),
    (None, raw(400, b"what?"), "refused", "invalid_content", None),
    (None, raw(413, b""), "refused", "invalid_content", None),
    (None, raw(404, b""), "refused", "unauthorized", None),
    (None, hang_up, "unknown", "connection", None),
    (Slack, raw(400, b"invalid_payload"), "refused", "invalid_content", None),
    (Slack, raw(403, b"action_prohibited"), "refused", "forbidden", None),
    (Slack, raw(403, b"invalid_token"), "refused", "unauthorized", None),
    (Slack, raw(404, b"channel_not_found"), "refused", "not_found", None),
    (Slack, raw(404, b"no_service"), "refused", "unauthorized", None),
    (Slack, raw(410, b"channel_is_archived"), "refused", "not_found", None),
    (Slack, raw(500, b"rollup_error"), "deferred", "server_error", None),
    (Mattermost, raw(400, b'{"id":"web.incoming_webhook.invalid.app_error"}'), "refused", "unauthorized", None),
    (Mattermost, raw(501, b'{"id":"web.incoming_webhook.disabled.app_error"}'), "refused", "unauthorized", None),
    (Mattermost, raw(404, b'{"id":"web.incoming_webhook.channel.app_error"}'), "refused", "not_found", None),
    (Mattermost, raw(403, b'{"id":"web.incoming_webhook.permissions.app_error"}'), "refused", "forbidden", None),
    (Discord, raw(429, b'{"retry_after": 1.5, "global": false}'), "deferred", "rate_limited", 1.5),
    (Discord, raw(429, b'{"retry_after": 1.5}', {"Retry-After": "2"}), "deferred", "rate_limited", 2.0),
    (Discord, raw(429, b'{"retry_after": "soon"}'), "deferred", "rate_limited", None),
    (Discord, raw(404, b'{"message": "Unknown Webhook", "code": 10015}'), "refused", "unauthorized", None),
    (Discord, raw(401, b'{"code": 50027}'), "refused", "unauthorized", None),
    (Discord, raw(404, b'{"code": 10003}'), "refused", "not_found", None),
    (Discord, raw(400, b'{"code": 50035}'), "refused", "invalid_content", None),
    (Discord, raw(403, b""), "refused", "forbidden", None),
    (Teams, raw(200, b"1"), "accepted", "ok", None),
    (
        Teams,
        raw(200, b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with X"),
        "deferred", "rate_limited", None,
    ),
    (Teams, raw(200, b"failed: Microsoft Teams endpoint returned HTTP error 413"), "refused", "invalid_content", None),
    (Teams, raw(400, b'{"error":{"code":"WorkflowTriggerIsNotEnabled"}}'), "refused", "unauthorized", None),
    (Teams, raw(401, b'{"error":{"code":"DirectApiAuthorizationRequired"}}'), "refused", "unauthorized", None),
    (GoogleChat, raw(400, b'{"error": {"status": "INVALID_ARGUMENT"}}'), "refused", "invalid_content", None),
    (GoogleChat, raw(403, b'{"error": {"status": "PERMISSION_DENIED"}}'), "refused", "unauthorized", None),
    (GoogleChat, raw(429, b'{"error": {"status": "RESOURCE_EXHAUSTED"}}'), "deferred", "rate_limited", None),
]  # fmt: skip


@every_form
async def test_each_answer_has_its_meaning(server: HookServer, context: Context, form: type[Incoming[Any]]) -> None:
    async with opened(form, server.url) as consumer:
        for of, answer, outcome, reason, retry_after_s in TABLE:
            if of not in (None, form):
                continue
            server.answers = [answer]
            found = await result(consumer, make_delivery(), context)
            told = (found.outcome, found.reason, found.retry_after_s)
            assert told == (outcome, reason, retry_after_s), found
            assert "CANARY" not in str(found)
            assert await result(consumer, make_delivery(), context) == Result(detail=f"{form.service} answered 200: ok")


@every_form
async def test_a_check_sends_nothing_to_people(server: HookServer, context: Context, form: type[Incoming[Any]]) -> None:
    seen: list[str] = []
    if form is not Discord:
        server.limit = enforcing(FORMS[form], seen)
    async with opened(form, server.url) as consumer:
        await consumer.check(context)
        assert seen == []
        assert [sent.method for sent in server.sent] == (
            [] if form is Teams else ["GET" if form is Discord else "POST"]
        )
        if form is not Teams:
            server.answers = [raw(404, b"")]
            with pytest.raises(Permanent) as refused:
                await consumer.check(context)
            assert refused.value.reason == "unauthorized"
            server.answers = [raw(503, b"", {"Retry-After": "9"})]
            with pytest.raises(Retryable):
                await consumer.check(context)
        with pytest.raises(Permanent, match="does not lead to a public address"):
            async with opened(form, server.url) as shut:
                await shut.check(replace(context, network=Network()))


@every_form
async def test_the_address_is_a_secret_and_limits_are_its_own(form: type[Incoming[Any]]) -> None:
    consumer = form(form.Parameters.model_validate({"url": "https://chat.example/CANARY"}))
    other = form(form.Parameters.model_validate({"url": "https://chat.example/other"}))
    assert consumer.credential() != other.credential()
    assert "CANARY" not in f"{consumer.credential()} {consumer.parameters!r}"
    assert consumer.mask("at https://chat.example/CANARY") == "at ***"
    longer = form(form.Parameters.model_validate({"url": "https://chat.example/in/T1/CANARY%2D1?sig=CANARY-2"}))
    for told in ("/in/T1/CANARY%2D1?sig=CANARY-2", "the hook CANARY-1", r"\/in\/T1\/CANARY%2D1", "sig is CANARY-2"):
        assert "CANARY" not in longer.mask(f"Cannot POST {told} at chat.example")
    assert longer.mask("no connection to chat.example") == "no connection to chat.example"
    assert consumer.limits(make_delivery())
    with pytest.raises(ValidationError) as refused:
        form.Parameters.model_validate({"url": "CANARY"})
    assert "CANARY" not in refused.value.errors()[0]["msg"]


async def test_discord_writes_into_a_thread(server: HookServer, context: Context) -> None:
    async with opened(Discord, server.url, thread_id="123") as consumer:
        await result(consumer, make_delivery(), context)
    assert server.sent[0].target == "/hook/CANARY?wait=true&thread_id=123"
