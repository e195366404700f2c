"""A configuration goes back to older versions while messages flow: each message is judged by one version or another."""

import asyncio
from collections import Counter, defaultdict

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.relay import Relay
from control_api.definitions.services import Services
from control_api.definitions.versions import Rollback, rollback
from control_api.migrate import upgraded
from notifier.outcome import Kind
from notifier.record import JsonObject
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.topics import MESSAGES, deliveries
from tests.rigs.kafka_tools import wait_until
from tests.rigs.router_rig import REGISTRY, audit, feed, read_attempts, routers, through

# Each drops some of the messages, and neither drops what the other does.
DROPPED = {"threes": "3", "sevens": "7"}
DEFINED: tuple[tuple[Kind, JsonObject], ...] = (
    ("producer", {"name": "ci", "type": "push"}),
    ("consumer", {"name": "room", "type": "room", "parameters": {"partitions": 1}}),
    *(
        ("filter", {"name": name, "type": "skip_keywords", "parameters": {"skip_keywords": [word]}})
        for name, word in DROPPED.items()
    ),
    ("configuration", {"name": "c", **through("room", filters=["threes"])}),
)


async def test_each_message_is_judged_by_one_version_while_a_configuration_goes_back(settings: Settings) -> None:
    rules: dict[int, str] = {}  # revision → the filter that it has
    async with upgraded(settings) as database:
        relay = Relay(settings, database)
        services = Services(database, REGISTRY, load_seal(settings), changed=relay.wake)
        for kind, document in DEFINED:
            stored = await services.create(COMMAND_LINE, kind, document)
        rules[stored.revision] = "threes"
        await relay.start()
        load = audit(settings, deliveries("room")), routers(settings), feed(settings, 200)
        async with load[0] as seen, load[1] as (router,), load[2] as sent:
            await wait_until(lambda: len(seen.records) > 100)
            second = await services.patch(COMMAND_LINE, "configuration", "c", {"filters": ["sevens"]})
            rules[second.revision] = "sevens"
            for turn in range(6):
                await asyncio.sleep(0.3)
                version = (stored, second)[turn % 2].revision
                wanted = Rollback(kind="configuration", name="c", version=version)
                back = await rollback(database, services, COMMAND_LINE, wanted)
                rules[back.revision] = rules[version]
            last = max(rules)
            await wait_until(lambda: any(value["configuration_version"] == last for value in seen.values()))
            ids = list(sent)

            async def all_judged() -> bool:
                dropped = {attempt["message"] for attempt in await read_attempts(settings, 1)}
                return set(ids) <= dropped | set(seen.message_ids())

            await wait_until(all_judged)
            assert await router.end() == 0
        await relay.stop()
    told = [(value["message_id"], value["configuration_version"], True) for value in seen.values()]
    told += [(one["message"], one["configuration_version"], False) for one in await read_attempts(settings, 1)]
    assert max(Counter(message for message, _, _ in told).values()) == 1
    for message, version, delivered in told:
        assert delivered is (DROPPED[rules[version]] not in message), (message, version, delivered)
    assert {version for _, version, _ in told} >= {min(rules), last}
    by_partition: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for message, version, _ in told:
        by_partition[int(message[1:]) % MESSAGES.partitions].append((int(message[1:]), version))
    for judged in by_partition.values():
        versions = [version for _, version in sorted(judged)]
        assert versions == sorted(versions)
