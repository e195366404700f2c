"""What goes to a chat: markup, parts, documents, and what is tried once more where Telegram refuses it."""

from dataclasses import replace

import pytest

from consumers.telegram.entities import MAX_PARTS, MAX_TEXT
from consumers.text.text import utf16_units
from notifier import Context, Marked, Moves, Result, Span
from notifier.outcome import Reason
from tests.rigs.bot_api import GROUP, OK, Answer, BotApi, at, bot, make, raw, result, says

LINK = "https://h.example/x"
MARKED = Marked(
    "Disk is full, see here", (Span(start=0, end=4, style="bold"), Span(start=18, end=22, style="link", value=LINK))
)
LONG = Marked(
    "\n\n".join(f"Paragraph {number}: " + "words \U0001f600 " * 90 for number in range(80))
)  # of about 70,000 units
REFUSED = "Bad Request: can't parse entities: they are odd"
SUPER = -1009876543210


async def test_markup_goes_as_entities_and_without_a_parse_mode(api: BotApi) -> None:
    async with bot() as consumer:
        assert await result(consumer, make(), at(api.url, MARKED)) == Result()
    ((_, form),) = api.calls
    assert form["text"] == MARKED.text
    assert set(form) == {"chat_id", "text", "entities"}
    assert api.entities(0) == [
        {"type": "bold", "offset": 0, "length": 4},
        {"type": "text_link", "offset": 18, "length": 4, "url": LINK},
    ]


async def test_a_preview_of_links_is_there_unless_it_is_not_wanted(api: BotApi) -> None:
    async with bot(link_preview=False) as consumer:
        assert await result(consumer, make(), at(api.url, MARKED)) == Result()
    assert api.calls[0][1]["link_preview_options"] == '{"is_disabled": true}'


async def test_who_has_another_chat_since_gets_all_parts(api: BotApi) -> None:
    text = Marked(LONG.text[: 2 * MAX_TEXT])
    api.answers = [OK, says(500, "later")]
    async with bot(chat_id="recipient") as consumer:
        assert (await result(consumer, make(address="5001"), at(api.url, text))).reason == "server_error"
        assert await result(consumer, make(address="5002"), at(api.url, text)) == Result()
    chats = [form["chat_id"] for _, form in api.calls]
    assert (chats[:2], set(chats[2:])) == (["5001"] * 2, {"5002"})
    assert len(chats) == 5


def a_long_message() -> Marked:
    """Of 30,000 characters and a little more: emoji, flags, Korean, Tamil, code and links."""
    text = Marked("")
    for number in range(110):
        text += f"{number}. 안녕하세요 வணக்கம் நண்பர்களே \U0001f468\u200d\U0001f469\u200d\U0001f466 \U0001f1eb\U0001f1ee "
        text += Marked("the log", (Span(start=0, end=7, style="link", value=f"{LINK}/{number}"),)) + "\n"
        code = f"for line in log[{number}]:\n" + "    print(line)\n" * 12
        text += Marked(code, (Span(start=0, end=len(code), style="pre", value="python"),)) + "\n\n"
    return text


async def test_a_text_of_30000_characters_arrives_whole(api: BotApi) -> None:
    text = a_long_message()
    assert len(text.text) > 28_000
    async with bot(chat_id=5001) as consumer:
        assert await result(consumer, make(), at(api.url, text)) == Result()
    assert 7 < len(api.texts) <= MAX_PARTS
    assert all(utf16_units(part) <= MAX_TEXT for part in api.texts)
    assert [part.partition("\n")[0] for part in api.texts] == [
        f"{n}/{len(api.texts)}" for n in range(1, len(api.texts) + 1)
    ]
    sent = "".join(part.partition("\n")[2] for part in api.texts)
    assert "".join(sent.split()) == "".join(text.text.split())
    links = [entity["url"] for number in range(len(api.calls)) for entity in api.entities(number) if "url" in entity]
    assert links == [f"{LINK}/{number}" for number in range(110)]


async def test_a_longer_text_goes_as_a_document_with_its_head(api: BotApi) -> None:
    async with bot(thread_id=7, silent=True) as consumer:
        assert await result(consumer, make(), at(api.url, MARKED + "\n" + LONG)) == Result()
    ((method, form),) = api.calls
    assert (method, form["chat_id"], form["message_thread_id"]) == ("sendDocument", str(GROUP), "7")
    assert form["disable_notification"].lower() == "true"
    assert api.files == [("message.txt", f"Disk is full, see here ({LINK})\n{LONG.text}")]
    assert form["caption"].startswith("Disk is full, see here\nParagraph 0: words")
    assert form["caption"].endswith("\n…")
    assert [entity["type"] for entity in api.entities(0)] == ["bold", "text_link"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(says(400, "Bad Request: not enough rights to send documents to the chat"), id="no right"),
        pytest.param(says(400, "Bad Request: CHAT_SEND_DOCS_FORBIDDEN"), id="no right, in Telegram's own words"),
        pytest.param(says(413, "Request Entity Too Large"), id="too large"),
        pytest.param(raw(413, b"<html>"), id="too large for a proxy"),
        pytest.param(says(400, "Bad Request: wrong file"), id="another refusal"),
    ],
)
async def test_where_no_document_is_taken_the_text_is_cut_and_the_attempt_says_so(api: BotApi, answer: Answer) -> None:
    api.answers = [answer]
    async with bot() as consumer:
        found = await result(consumer, make(), at(api.url, LONG))
    assert found.outcome == "accepted"
    assert "Telegram did not take the document, so it was cut" in str(found.detail)
    assert len(api.texts) == MAX_PARTS
    assert api.texts[-1].endswith("characters are left out")


async def test_a_document_that_meets_no_chat_is_not_sent_again_as_texts(api: BotApi) -> None:
    api.answers = [says(403, "Forbidden: bot was kicked")]
    async with bot() as consumer:
        found = await result(consumer, make(), at(api.url, LONG))
    assert (found.outcome, found.reason, len(api.calls)) == ("refused", "forbidden", 1)


@pytest.mark.parametrize(
    "said",
    [
        REFUSED,
        "Bad Request: can't parse MessageEntity: expected an Object",
        "Bad Request: ENTITY_BOUNDS_INVALID",
        "Bad Request: ENTITIES_TOO_LONG",
        "Bad Request: Entities_too_long",
        "Bad Request: Wrong message entity: Wrong URL host",
        f"Bad Request: entity URL '{LINK}' is invalid: URL host is empty",
    ],
)
async def test_markup_that_is_refused_goes_once_as_plain_text_and_the_attempt_says_so(api: BotApi, said: str) -> None:
    api.answers = [says(400, said)]
    async with bot() as consumer:
        found = await result(consumer, make(), at(api.url, MARKED))
        assert (found.outcome, found.reason) == ("accepted", "ok")
        assert found.detail == f"its markup was refused, so it went without (Telegram answered 400: {said})"
        assert api.texts[1] == f"Disk is full, see here ({LINK})"
        assert api.entities(1) == []
        api.answers = [says(400, said), says(400, said)]
        again = await result(consumer, make(number=2), at(api.url, MARKED))
    assert (again.outcome, again.reason, len(api.calls)) == ("refused", "invalid_content", 4)


async def test_a_caption_whose_markup_is_refused_goes_without(api: BotApi) -> None:
    api.answers = [says(400, REFUSED)]
    async with bot() as consumer:
        found = await result(consumer, make(), at(api.url, MARKED + "\n" + LONG))
    assert "its markup was refused" in str(found.detail)
    assert [method for method, _ in api.calls] == ["sendDocument", "sendDocument"]
    assert api.entities(1) == []


TOPICS: list[tuple[str, Reason]] = [
    ("Bad Request: message thread not found", "not_found"),
    ("Bad Request: TOPIC_DELETED", "not_found"),
    ("Bad Request: TOPIC_ID_INVALID", "not_found"),
    ("Bad Request: invalid topic identifier specified", "not_found"),
    ("Bad Request: TOPIC_CLOSED", "forbidden"),
]


@pytest.mark.parametrize(("said", "reason"), TOPICS)
async def test_a_topic_that_fails_falls_back_to_the_chat_and_the_attempt_says_so(
    api: BotApi, said: str, reason: Reason
) -> None:
    api.answers = [OK, says(400, said)]
    async with bot(thread_id=7) as consumer:
        found = await result(consumer, make(), at(api.url, "word " * 2000))
        detail = f"the topic 7 did not take it, so it went to the chat itself (Telegram answered 400: {said})"
        assert found == Result(detail=detail)
        assert [form.get("message_thread_id") for _, form in api.calls] == ["7", "7", None, None]
        assert [text[:3] for text in api.texts] == ["1/3", "2/3", "2/3", "3/3"]
        api.answers = [says(400, said), says(400, said)]
        again = await result(consumer, make(number=2), at(api.url))
    assert (again.outcome, again.reason) == ("refused", reason)


async def test_all_that_may_be_refused_may_be_refused_of_one_text(api: BotApi) -> None:
    moved = says(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=SUPER)
    api.answers = [says(400, TOPICS[0][0]), moved, says(400, REFUSED), OK]
    permits = 0

    async def permit() -> None:
        nonlocal permits
        permits += 1

    async with bot(chat_id=-4242, thread_id=7) as consumer:
        found = await result(consumer, make(), replace(at(api.url, MARKED), permit=permit))
    assert found.outcome == "accepted"
    for words in (f"became the supergroup {SUPER}", "the topic 7 did not take it", "its markup was refused"):
        assert words in str(found.detail)
    assert [form["chat_id"] for _, form in api.calls] == ["-4242", "-4242", str(SUPER), str(SUPER)]
    assert permits == 3  # each further call waits for its turn


async def test_a_move_that_is_on_record_is_followed_without_asking_and_counts_for_the_new_chat(
    api: BotApi, context: Context
) -> None:
    kept: list[tuple[str, str]] = []
    api.answers = [says(400, "upgraded", migrate_to_chat_id=SUPER)]
    async with bot(chat_id=-4242) as first, bot(chat_id=-4242) as second:
        first.moves = Moves(lambda address, became: kept.append((address, became)))
        assert (await result(first, make(), context)).outcome == "accepted"
        assert kept == [("-4242", str(SUPER))]
        second.moves.heard(*kept[0])
        assert {limit.of for limit in second.limits(make())} == {"", str(SUPER)}
        found = await result(second, make(number=2), context)
        assert found == Result(detail=f"the group became the supergroup {SUPER}; write that as chat_id of the consumer")
        await second.check(context)
    assert [form["chat_id"] for _, form in api.calls] == ["-4242", str(SUPER), str(SUPER), str(SUPER)]


@pytest.mark.parametrize("became", ["", "chat", "0", "-", "-0", "1e5", "９", str(2**60)])
async def test_what_is_no_number_of_a_chat_moves_nothing(api: BotApi, context: Context, became: str) -> None:
    async with bot(chat_id=-4242) as consumer:
        consumer.moves.heard("-4242", became)
        assert (await result(consumer, make(), context)).outcome == "accepted"
        assert {limit.of for limit in consumer.limits(make())} == {"", "-4242"}
    assert [form["chat_id"] for _, form in api.calls] == ["-4242"]


@pytest.mark.parametrize("number", [2**60, -(2**53)])
async def test_a_group_does_not_become_what_is_no_chat(api: BotApi, context: Context, number: int) -> None:
    api.answers = [says(400, "upgraded", migrate_to_chat_id=number)]
    async with bot(chat_id=-4242) as consumer:
        found = await result(consumer, make(), context)
        assert (found.outcome, found.reason) == ("refused", "not_found")
        assert consumer.moves.all() == {}


async def test_a_text_that_turns_the_way_of_reading_or_acts_in_the_app_does_neither(api: BotApi) -> None:
    text = Marked("a\u202eb \u2066c t") + Marked("g://user?id=1", (Span(start=0, end=13, style="bold"),))
    async with bot() as consumer:
        assert await result(consumer, make(), at(api.url, text)) == Result()
    assert api.texts == ["ab c user?id=1"]
    (entity,) = api.entities(0)
    assert api.texts[0][entity["offset"] :] == "user?id=1"
