"""Topics: created from the table in `notifier.topics` by the process that first needs them, and grown where more is wanted."""

import asyncio
from collections.abc import Iterable, Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import InvalidPartitionsError, TopicAlreadyExistsError, for_code

from notifier.errors import BrokerError
from notifier.kafka.clients import kafka_admin
from notifier.settings import Settings
from notifier.topics import Topic

_LOOKS = 100  # for the leaders of created topics
_LOOK_S = 0.05  # between two looks


async def ensure_topics(settings: Settings, topics: Iterable[Topic]) -> None:
    """Creates those of the topics that do not exist, and returns when they can be written to.

    Raises BrokerError when the broker cannot be reached or refuses.
    """
    wanted = {settings.topic_prefix + topic.name: topic for topic in topics}
    async with kafka_admin(settings) as admin:
        missing = wanted.keys() - set(await admin.list_topics())
        if not missing:
            return
        answer = await admin.create_topics(
            [
                NewTopic(
                    name=name,
                    num_partitions=wanted[name].partitions,
                    replication_factor=settings.kafka_replication,
                    topic_configs=wanted[name].config(),
                )
                for name in sorted(missing)
            ]
        )
        for name, code, *text in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise BrokerError(
                    f"the broker will not create the topic {name}: {error.__name__} {text[0] if text else ''}"
                )
        await _wait_for_leaders(admin, dict.fromkeys(missing, 1))


async def grow_topics(settings: Settings, topics: Iterable[Topic]) -> None:
    """Gives those of the topics that have fewer partitions the number that they are to have. They must exist.

    From then on a key may belong to another partition, before what lies in the old one is read. Raises BrokerError.
    """
    wanted = {settings.topic_prefix + topic.name: topic.partitions for topic in topics}
    if not any(number > 1 for number in wanted.values()):
        return
    async with kafka_admin(settings) as admin:
        described = await admin.describe_topics(sorted(wanted))
        more = {
            topic["topic"]: wanted[topic["topic"]]
            for topic in described
            if not topic["error_code"] and len(topic["partitions"]) < wanted[topic["topic"]]
        }
        if not more:
            return
        try:
            await admin.create_partitions({name: NewPartitions(total_count=number) for name, number in more.items()})
        except InvalidPartitionsError:
            pass  # somebody else has done it
        await _wait_for_leaders(admin, more)


async def _wait_for_leaders(admin: AIOKafkaAdminClient, wanted: Mapping[str, int]) -> None:
    """Returns when so many partitions of each topic can be written to: new ones have no leader for some milliseconds."""
    for _ in range(_LOOKS):
        described = await admin.describe_topics(sorted(wanted))
        if all(not topic["error_code"] and len(topic["partitions"]) >= wanted[topic["topic"]] for topic in described):
            return
        await asyncio.sleep(_LOOK_S)
