"""A consumer group as the broker sees it: who is in it, and how often it has been divided anew."""

from dataclasses import dataclass

from aiokafka.protocol.group import HeartbeatRequest

from bench.worker import Failed
from notifier.kafka import kafka_admin
from notifier.settings import Settings

GENERATIONS = 100  # that are looked for


@dataclass(frozen=True)
class Group:
    """Its members and its generation."""

    members: frozenset[str]
    generation: int


async def read_group(settings: Settings, name: str) -> Group:
    """The group, which must be stable.

    The broker tells a generation to its members only, so that of one member is found by heartbeats in its name: one with another
    number is refused.
    """
    group = settings.topic_prefix + name
    async with kafka_admin(settings) as admin:
        (answer,) = await admin.describe_consumer_groups([group])
        ((_, _, state, _, _, members, *_),) = answer.groups
        if state != "Stable" or not members:
            raise Failed(f"the group {group} is {state or 'not there'}, with {len(members)} members")
        coordinator = await admin.find_coordinator(group)
        for generation in range(1, GENERATIONS):
            beat = await admin._client.send(coordinator, HeartbeatRequest(group, generation, members[0][0]))
            if not beat.error_code:
                return Group(frozenset(member[0] for member in members), generation)
    raise Failed(f"the group {group} has been divided more than {GENERATIONS} times")
