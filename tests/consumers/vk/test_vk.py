"""The VK consumer against a VK API on loopback: what it sends, to whom, in how many calls, and which parameters it takes."""

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from consumers.exchange import REQUEST_S
from consumers.text.text import utf16_units
from consumers.vk.api import random_id
from consumers.vk.mentions import neutralised
from consumers.vk.vk import Vk, VkParameters
from notifier import Context, Limit, Result, User
from notifier.errors import InputError
from notifier.plugin import secret_fields
from notifier.registry import Registry
from tests.rigs.bot_api import raw, stay_silent
from tests.rigs.socks import socks
from tests.rigs.vk_api import CHAT, TOKEN, VkStub, at, community, fails, make

LONG = "\u0442\u0440\u0435\u0432\u043e\u0433\u0430 \U0001f600 " * 1000  # 11,000 UTF-16 units: three parts


def everyone(count: int, **fields: Any) -> list[Any]:
    return [make("for all", number, address=str(number), **fields) for number in range(1, count + 1)]


async def test_a_conversation_gets_the_text_as_a_form(api: VkStub, context: Context) -> None:
    async with community(link_preview=False) as consumer:
        assert await consumer.deliver([make()], context) == [Result()]
    ((method, form),) = api.calls
    assert method == "messages.send"
    assert form == {
        "peer_ids": str(CHAT),
        "message": "build failed",
        "random_id": str(random_id([make().id], 0)),
        "disable_mentions": "1",
        "dont_parse_links": "1",
    }


async def test_several_people_get_one_text_in_one_call_with_a_result_each(api: VkStub, context: Context) -> None:
    api.refuses = {2: 901}
    deliveries = [*everyone(3), make("another", 4, address="4"), make("for all", 5, address="alice")]
    async with community(peer_id="recipient") as consumer:
        assert not consumer.fixed_address()
        results = await consumer.deliver(deliveries, context)
    assert [result.reason for result in results] == ["ok", "forbidden", "ok", "ok", "no_address"]
    assert "writes to the community first" in str(results[1].detail)
    assert sorted(peers for peers, _ in api.sent) == ["1,2,3", "4"]
    assert {peer: len(texts) for peer, texts in api.arrived.items()} == {1: 1, 3: 1, 4: 1}


async def test_one_odd_recipient_costs_the_others_nothing_where_vk_refuses_the_whole_call(
    api: VkStub, context: Context
) -> None:
    api.answers = [fails(100, "peer_ids is invalid"), None, fails(901), None]
    async with community(peer_id="recipient") as consumer:
        results = await consumer.deliver(everyone(3), context)
    assert [result.reason for result in results] == ["ok", "forbidden", "ok"]
    assert [peers for peers, _ in api.sent] == ["1,2,3", "1", "2", "3"]
    assert len({form["random_id"] for _, form in api.calls}) == 1


async def test_a_call_has_at_most_so_many_people_and_each_of_them_once(api: VkStub, context: Context) -> None:
    async with community(peer_id="recipient") as consumer:
        results = await consumer.deliver([*everyone(101), make("for all", 102, address="1")], context)
    assert set(results) == {Result()}
    assert sorted(peers.count(",") + 1 for peers, _ in api.sent) == [1, 1, 100]
    assert len(api.arrived[1]) == 2
    api.calls.clear()
    async with community(peer_id="recipient", together=1) as consumer:
        await consumer.deliver(everyone(3), context)
    assert sorted(peers for peers, _ in api.sent) == ["1", "2", "3"]


async def test_what_nobody_knows_the_end_of_is_sent_again_and_arrives_once(api: VkStub, context: Context) -> None:
    async with community(peer_id="recipient") as consumer:
        api.answers = [api.take_silently]
        first = await consumer.deliver(everyone(3), context)
        assert {(result.outcome, result.reason) for result in first} == {("unknown", "connection")}
        # The next tries need not come together, nor at the same time.
        again = [*await consumer.deliver(everyone(3)[:2], context), *await consumer.deliver(everyone(3)[2:], context)]
    assert again == [Result()] * 3
    assert [peers for peers, _ in api.sent] == ["1,2,3", "1,2", "3"]
    assert len({form["random_id"] for _, form in api.calls}) == 1
    assert {peer: len(texts) for peer, texts in api.arrived.items()} == {1: 1, 2: 1, 3: 1}


async def test_what_may_have_arrived_alone_does_not_arrive_again_in_company(api: VkStub, context: Context) -> None:
    api.answers = [api.take_silently, api.take_silently]
    one, other = everyone(2)
    async with community(peer_id="recipient") as consumer:
        for delivery in (one, other):
            assert [result.outcome for result in await consumer.deliver([delivery], context)] == ["unknown"]
        assert await consumer.deliver([one, other], context) == [Result(), Result()]
    assert {peer: len(texts) for peer, texts in api.arrived.items()} == {1: 1, 2: 1}


async def test_another_instance_sends_one_person_s_text_again_under_the_same_number(
    api: VkStub, context: Context
) -> None:
    for _ in range(2):
        async with community(peer_id="recipient") as consumer:
            assert await consumer.deliver([make(LONG, address="5")], context) == [Result()]
    assert len(api.sent) == 6
    assert len(api.arrived[5]) == 3


def test_numbers_of_texts_are_signed_32_bits_never_0_and_follow_from_the_deliveries_and_the_part() -> None:
    found = {
        random_id([f"ci/{number}/all/chat/{name}"], part) for number in range(300) for name in "ab" for part in (0, 1)
    }
    assert len(found) == 1200
    assert all(-(2**31) <= one < 2**31 and one for one in found)
    assert random_id(["b", "a"], 1) == random_id(["a", "b"], 1)


async def test_a_long_text_goes_in_parts_and_on_with_the_part_that_failed(api: VkStub, context: Context) -> None:
    api.answers = [None, fails(6)]
    async with community(peer_id="recipient") as consumer:
        first = await consumer.deliver([make(LONG, number, address=str(number)) for number in (1, 2)], context)
        assert {(result.reason, result.retry_after_s) for result in first} == {("rate_limited", 1.0)}
        assert "part 2 of 3; those before it were sent" in str(first[0].detail)
        assert (
            await consumer.deliver([make(LONG, number, address=str(number)) for number in (1, 2)], context)
            == [Result()] * 2
        )
    assert [text[:4] for _, text in api.sent] == ["1/3\n", "2/3\n", "2/3\n", "3/3\n"]
    assert all(utf16_units(text) <= 4096 for _, text in api.sent)
    for texts in api.arrived.values():
        assert sum(text.count("\U0001f600") for text in texts) == 1000
    assert len({form["random_id"] for _, form in api.calls}) == 3


async def test_who_has_another_number_since_gets_all_parts(api: VkStub, context: Context) -> None:
    api.answers = [None, fails(6)]
    async with community(peer_id="recipient") as consumer:
        await consumer.deliver([make(LONG, 1, address="1")], context)
        assert await consumer.deliver([make(LONG, 1, address="2")], context) == [Result()]
    assert {peer: len(texts) for peer, texts in api.arrived.items()} == {1: 1, 2: 3}


async def test_who_is_refused_gets_no_further_part(api: VkStub, context: Context) -> None:
    api.answers = [
        None,
        raw(200, b'{"response": [{"peer_id": 1, "message_id": 9}, {"peer_id": 2, "error": {"code": 10}}]}'),
    ]
    deliveries = [make(LONG, number, address=str(number)) for number in (1, 2)]
    async with community(peer_id="recipient") as consumer:
        first, second = await consumer.deliver(deliveries, context)
        assert first == Result()
        assert (second.outcome, second.reason) == ("deferred", "server_error")
        assert await consumer.deliver([deliveries[1]], context) == [Result()]
    assert [(peers, text[:3]) for peers, text in api.sent] == [
        ("1,2", "1/3"),
        ("1,2", "2/3"),
        ("1", "3/3"),
        ("2", "2/3"),
        ("2", "3/3"),
    ]


@pytest.mark.parametrize("longest", [1000, 2100, 4000])
async def test_what_vk_refuses_as_too_long_goes_in_halves(api: VkStub, context: Context, longest: int) -> None:
    api.longest = longest
    async with community() as consumer:
        assert await consumer.deliver([make("abc word " * 3000)], context) == [Result()]
    assert "".join(api.arrived[CHAT]).count("abc") == 3000
    assert max(map(len, api.arrived[CHAT])) <= longest


async def test_a_later_part_alone_goes_in_halves(api: VkStub, context: Context) -> None:
    api.answers = [None, fails(910)]
    async with community() as consumer:
        assert await consumer.deliver([make(LONG)], context) == [Result()]
    assert [text[:3] for text in api.arrived[CHAT] if text[1:2] == "/"] == ["1/3", "2/3", "3/3"]
    assert len(api.arrived[CHAT]) == 5
    assert sum(text.count("\U0001f600") for text in api.arrived[CHAT]) == 1000


async def test_what_is_too_long_however_short_is_given_up(api: VkStub, context: Context) -> None:
    api.longest = 3
    async with community() as consumer:
        (found,) = await consumer.deliver([make("word " * 900)], context)
    assert (found.outcome, found.reason) == ("refused", "invalid_content")
    assert len(api.calls) < 8


async def test_a_text_beyond_the_parts_says_how_much_is_left_out(api: VkStub, context: Context) -> None:
    async with community() as consumer:
        assert await consumer.deliver([make("word " * 30_000)], context) == [Result()]
    assert len(api.arrived[CHAT]) == 20
    assert api.arrived[CHAT][-1].endswith("characters are left out")


async def test_30_000_characters_of_all_kinds_arrive_whole(api: VkStub, context: Context) -> None:
    kinds = [
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U0001f1f7\U0001f1fa",
        "\ud55c\uad6d\uc5b4",
        "\u0ba8\u0bbf",
        "e\u0301",
        "https://example.org/a?b=1",
    ]
    content = " ".join((kinds * 2000)[:9000])[:30_000]
    async with community() as consumer:
        assert await consumer.deliver([make(content)], context) == [Result()]
    pieces = [text.partition("\n")[2] for text in api.arrived[CHAT]]
    assert " ".join(piece.strip() for piece in pieces) == content.strip()
    assert all(utf16_units(text) <= 4096 for text in api.arrived[CHAT])


async def test_who_waits_with_another_is_told_when_that_is_cut_off(api: VkStub, context: Context) -> None:
    api.answers = [stay_silent]
    async with community(peer_id="recipient") as consumer:
        first, second, third = (asyncio.create_task(consumer.deliver([one], context)) for one in everyone(3))
        while not api.calls:
            await asyncio.sleep(0.01)
        first.cancel()
        third.cancel()
        (found,) = await second
        assert (found.outcome, found.reason) == ("unknown", "timeout")
        assert first.cancelled() or isinstance((await asyncio.gather(first, return_exceptions=True))[0], BaseException)
        assert await consumer.deliver(everyone(3)[1:2], context) == [Result()]
    assert [peers for peers, _ in api.sent] == ["1,2,3", "2"]
    assert len({form["random_id"] for _, form in api.calls}) == 1


async def test_who_is_cancelled_before_the_call_is_not_in_it(api: VkStub, context: Context) -> None:
    async with community(peer_id="recipient") as consumer:
        tasks = [asyncio.create_task(consumer.deliver([one], context)) for one in everyone(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert [peers for peers, _ in api.sent] == ["1,3"]


async def test_a_template_takes_the_place_of_the_default_text(api: VkStub) -> None:
    async with community() as consumer:
        await consumer.deliver([make()], at(api.url, "made \u202eup"))
        (empty,) = await consumer.deliver([make(number=2)], at(api.url, " \n"))
        (odd,) = await consumer.deliver([make(number=3, message=b"{}")], at(api.url))
    assert api.arrived[CHAT] == ["made up"]
    assert (empty.outcome, empty.reason, empty.detail) == ("refused", "invalid_content", "the text is empty")
    assert (odd.outcome, odd.reason) == ("refused", "invalid_content")


@pytest.mark.parametrize(
    ("text", "neutral"),
    [
        ("@all fire", "@~all fire"),
        ("(@id1 (Alice), *id1 (Alice)", "(@~id1 (Alice), *~id1 (Alice)"),
        ("[id1|Alice] [club1|us]", "[~id1|Alice] [~club1|us]"),
        ("[[id1|Alice]", "[[~id1|Alice]"),
        ("&#64;all &#x40;all &commat;all", "&~#64;all &~#x40;all &~commat;all"),
        ("**@\u0432\u0441\u0435", "**@~\u0432\u0441\u0435"),
        ("al@example.org 2*x a & b; [1] |x| [a] |", "al@example.org 2*x a & b; [1] |x| [a] |"),
        ("https://example.org/?a=1&b=2", "https://example.org/?a=1&b=2"),
    ],
)
def test_nobody_is_mentioned_by_a_text_of_others(text: str, neutral: str) -> None:
    assert neutralised(text) == neutral.replace("~", "\u200b")
    assert neutralised(neutralised(text)) == neutralised(text)


async def test_mentions_are_neutral_when_they_are_sent(api: VkStub, context: Context) -> None:
    async with community() as consumer:
        await consumer.deliver([make("@all [id1|Alice]")], context)
    assert api.arrived[CHAT] == ["@\u200ball [\u200bid1|Alice]"]
    async with community() as consumer:
        assert consumer.preview(make(), "x") == "x"


@pytest.mark.parametrize(
    ("info", "address"),
    [
        pytest.param({"vk": {"username": "al", "id": 123}}, "123", id="id"),
        pytest.param({"vk": [{"username": "al"}, {"id": "456"}]}, "456", id="of the first that has one"),
        pytest.param({"vk": {"username": "al"}}, None, id="no id"),
        pytest.param({"vk": {"id": True}}, None, id="no number"),
        pytest.param({"vk": {"id": "id1"}}, None, id="a name"),
        pytest.param({"telegram": {"id": 1}}, None, id="another world"),
    ],
)
async def test_the_address_of_a_person_is_the_vk_id(info: dict[str, Any], address: str | None) -> None:
    async with community(peer_id="recipient") as consumer:
        assert consumer.address(User(username="alice", additional_info=info)) == address


async def test_vk_is_reached_by_the_proxy_of_the_parameters_which_learns_no_password(
    api: VkStub, context: Context
) -> None:
    async with socks("al:CANARY") as proxy:
        async with community(proxy=f"socks5://al:CANARY@{proxy.address}") as consumer:
            assert await consumer.deliver([make()], context) == [Result()]
            await consumer.check(context)
        assert len(proxy.asked) == 1  # and kept
        async with community(proxy=f"socks5://al:wrong-CANARY@{proxy.address}") as consumer:
            (found,) = await consumer.deliver([make(number=2)], context)
    assert (found.outcome, found.reason) == ("deferred", "connection")
    assert "CANARY" not in str(found.detail)
    assert len(api.arrived[CHAT]) == 1


async def test_limits_belong_to_the_token(api: VkStub) -> None:
    async with community() as chat, community(peer_id="recipient") as direct, community(token="vk1.a.another") as other:
        assert chat.credential() == direct.credential() != other.credential()
        assert "CANARY" not in chat.credential()
        assert direct.limits(make(address="7")) == [
            Limit(count=20, seconds=1.0),
            Limit(count=20, seconds=1.0, of="7"),
        ]
        assert chat.timeout_s() > 20 * REQUEST_S


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        pytest.param({"token": "no token"}, "token", id="no token"),
        pytest.param({"token": "a/../../../b"}, "token", id="path in the token"),
        pytest.param({"token": None}, "token", id="token missing"),
        pytest.param({"peer_id": "someone"}, "peer_id", id="neither number nor recipient"),
        pytest.param({"peer_id": 0}, "peer_id", id="nought"),
        pytest.param({"peer_id": True}, "peer_id", id="true"),
        pytest.param({"peer_id": 2**60}, "peer_id", id="too large"),
        pytest.param({"max_text": 9001}, "max_text", id="longer than VK takes"),
        pytest.param({"together": 101}, "together", id="more than VK takes"),
        pytest.param({"colour": 1}, "colour", id="unknown"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ValidationError) as refused:
        VkParameters.model_validate({"token": TOKEN, "peer_id": CHAT, **wrong})
    assert {str(error["loc"][0]) for error in refused.value.errors()} == {pointer}
    assert "CANARY" not in str(refused.value)


def test_a_wrong_conversation_is_told_at_its_place_in_one_sentence() -> None:
    with pytest.raises(InputError) as refused:
        Registry([Vk]).check("consumer", "vk", {"token": TOKEN, "peer_id": "@al"})
    (error,) = refused.value.errors
    assert error.pointer == "/parameters/peer_id"
    assert error.detail.startswith("must be the number of a person")


def test_the_token_is_a_secret_and_the_router_needs_none() -> None:
    assert secret_fields(VkParameters) == {"token", "proxy"}
    parameters = {"token": "sealed:abc:xyz", "peer_id": "-42"}
    consumer = Registry([Vk]).build("consumer", "chat", "vk", parameters, None)
    assert isinstance(consumer, Vk)
    assert (consumer.world_of(), consumer.batch(), consumer.parameters.peer_id) == ("vk", 1, -42)
