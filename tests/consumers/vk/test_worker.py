"""VK with a real delivery worker on a real broker: at its pace, nothing is refused and each person gets each text once."""

import logging

import msgspec
import pytest

from consumers.vk.vk import Vk
from notifier.kafka import ensure_topics
from notifier.registry import Registry, close_secrets
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.topics import deliveries
from tests.rigs.delivery_rig import define, send, wait_for_attempts, with_, working
from tests.rigs.vk_api import TOKEN, VkStub, make

PEOPLE = range(1, 10)


async def test_people_get_a_text_once_each_within_the_limit_of_the_community(
    settings: Settings, api: VkStub, caplog: pytest.LogCaptureFixture
) -> None:
    settings = with_(settings, vk_api=api.url)
    api.a_second, api.refuses = 6, {9: 901}
    for person in PEOPLE:
        await define(settings, f"u{person}", {"additional_info": {"vk": {"id": person}}}, kind="user")
    sealed = close_secrets(load_seal(settings), "consumer", "chat", {"token": TOKEN}, frozenset({"token"}))
    await ensure_topics(settings, [deliveries("chat", 1)])
    parameters = {"peer_id": "recipient", "per_second": 6, **sealed}
    await define(settings, "chat", {"type": "vk", "parameters": parameters})
    spec = {"consumers": ["chat"], "template": "{{ message.content }}"}
    await define(settings, "all", spec, kind="configuration")
    made = [make("fire", person, recipient=f"u{person}", address=str(person)) for person in PEOPLE]
    await send(settings, [msgspec.structs.replace(one, lane=str(one.address)) for one in made])
    with caplog.at_level(logging.DEBUG):
        async with working(settings, Registry([Vk])):
            found = await wait_for_attempts(settings, 1, outcome="refused")
            found = await wait_for_attempts(settings, 8, outcome="accepted")
    assert len(found) == 9
    assert api.too_many == 0
    assert api.arrived == {person: ["fire"] for person in PEOPLE if person != 9}
    assert sorted(peer for peers, _ in api.sent for peer in peers.split(",")) == [str(person) for person in PEOPLE]
    own = [record for record in caplog.records if record.name != "aiohttp.access"]
    assert not [record for record in own if "CANARY" in repr(record.__dict__)]
    assert "CANARY" not in repr(found)
