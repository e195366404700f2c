"""Reading: from a record of a deliveries topic to what waits in a lane."""

from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from notifier.delivery import Delivery
from notifier.errors import InvalidRecord
from notifier.record import now
from streams.delivery.lanes import Pending


class _Message(msgspec.Struct):
    """What the order within a lane needs of a message, which may hold anything."""

    severity: Any = None


def pending_of(record: ConsumerRecord, consumer: str) -> Pending:
    """A record of the topic of a consumer as it waits in its lane. Raises UnsupportedVersion."""
    delivery, error = _decoded(record, consumer)
    pending = Pending(
        offset=record.offset,
        timestamp=record.timestamp,
        key=record.key,
        value=record.value,
        delivery=delivery,
        error=error,
    )
    if delivery is not None and not is_delayed(delivery):
        pending.attempt = delivery.attempt
        pending.spared = min(delivery.spared, delivery.attempt - 1)  # of more than were made, none would be the last
    return pending


def is_delayed(delivery: Delivery) -> bool:
    """Whether a delivery is not to be made yet."""
    return delivery.not_before is not None and delivery.not_before > now()


def is_critical(delivery: Delivery) -> bool:
    """Whether the message of a delivery has `severity: critical`."""
    try:
        return bool(msgspec.json.decode(delivery.message, type=_Message).severity == "critical")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _decoded(record: ConsumerRecord, consumer: str) -> tuple[Delivery | None, str]:
    """The delivery, or None and why the record holds none."""
    try:
        delivery = Delivery.decode(record.value or b"")
    except InvalidRecord as error:
        return None, str(error)
    if delivery.consumer != consumer:
        return None, f"it is for the consumer {delivery.consumer!r}, which has a topic of its own"
    return delivery, ""
