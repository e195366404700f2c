"""Recording: what delivery writes down about deliveries, as records of the topics `attempts` and `dead_letters`."""

from datetime import datetime
from urllib.parse import unquote

from notifier.attempt import Attempt, Origin
from notifier.delivery import Delivery
from notifier.outcome import Outcome, Reason
from notifier.record import now

MAX_DETAIL = 2000  # characters of an attempt's detail


def attempt_of(
    delivery: Delivery,
    *,
    outcome: Outcome,
    reason: Reason,
    origin: Origin,
    detail: str | None = None,
    number: int | None = None,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
    not_before: datetime | None = None,
) -> Attempt:
    """The Attempt of a delivery; without times it is about this moment, without a number about the next try."""
    moment = now()
    return Attempt(
        delivery=delivery.id,
        producer=unquote(delivery.id.partition("/")[0]),  # the message itself may be unreadable
        message=delivery.message_id,
        outcome=outcome,
        reason=reason,
        started_at=started_at or moment,
        ended_at=ended_at or moment,
        number=delivery.attempt if number is None else number,
        configuration=delivery.configuration,
        configuration_version=delivery.configuration_version,
        consumer=delivery.consumer,
        recipient=delivery.recipient,
        detail=None if detail is None else detail[:MAX_DETAIL],
        origin=origin,
        not_before=not_before,
    )
