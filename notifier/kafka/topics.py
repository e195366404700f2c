"""Topics: created from the table in `notifier.topics` by the process that first needs them."""

import asyncio
from collections.abc import Iterable

from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

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
        for _ in range(_LOOKS):  # a created topic has no leader for some milliseconds
            described = await admin.describe_topics(sorted(missing))
            if all(not topic["error_code"] and topic["partitions"] for topic in described):
                return
            await asyncio.sleep(_LOOK_S)
