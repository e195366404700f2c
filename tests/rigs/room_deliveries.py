"""Deliveries to the consumer `room` in three lanes, for tests of the way out."""

import json

import msgspec

from notifier.delivery import Delivery
from notifier.settings import Settings
from streams.outputs.outputs import Outbox
from tests.rigs.kafka_tools import read_all


def delivery(number: int, content: str = "x") -> Delivery:
    """The delivery of the message `m<number>`."""
    return Delivery(
        id=f"ci/m{number}/c/room/*",
        configuration="c",
        configuration_version=1,
        consumer="room",
        lane=f"lane{number % 3}",
        message=msgspec.Raw(json.dumps({"producer": "ci", "content": content}).encode()),
        message_id=f"m{number}",
    )


def box(*items: Delivery, topic: str = "deliveries.room") -> Outbox:
    """The deliveries, keyed by lane."""
    outbox = Outbox()
    for item in items:
        outbox.add(topic, item.lane.encode(), item.encode())
    return outbox


async def message_ids(settings: Settings, topic: str = "deliveries.room") -> list[str]:
    """Of the deliveries on a topic, in order."""
    return [Delivery.decode(record.value).message_id for record in await read_all(settings, topic)]
