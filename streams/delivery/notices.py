"""Notices: what the operators are told of paused consumers, as deliveries of their own consumer.

They are deliveries as all others, with attempts, retries and dead letters. They belong to no configuration: the name that they
carry in its place cannot be given to one (`notifier.delivery.OPERATORS`).
"""

import logging

import msgspec

from notifier.catalog import Catalog
from notifier.delivery import OPERATORS, Delivery, delivery_id
from notifier.message import Message
from notifier.outcome import Severity
from notifier.record import now, rfc3339
from notifier.status import Status
from notifier.topics import DELIVERIES
from streams.writer import Writer

logger = logging.getLogger(__name__)

PRODUCER = "notifier"
_MENDS = {
    "unauthorized": "Write a new credential into it; everything then goes at once.",
    "paused": "It goes on when somebody has it go on.",
}
_WAITS = (
    "Nothing is lost: its deliveries wait in order. One at a time is tried, and all go on once the service takes it."
)


class Notices:
    """Tells the operators' consumer, where there is one. `follow` takes each new catalog."""

    def __init__(self, consumer: str | None, writer: Writer) -> None:
        self._consumer = consumer
        self._writer = writer
        self._problem: str | None = None

    def follow(self, catalog: Catalog) -> None:
        """Takes a new catalog, and logs where the operators cannot be told any more."""
        problem = None if self._consumer is None else problem_of(self._consumer, catalog)
        if problem is not None and problem != self._problem:
            logger.warning(
                "The operators are not told of paused consumers: %s.", problem, extra={"action": "tell_operators"}
            )
        self._problem = problem

    async def tell(self, status: Status) -> bool:
        """Writes what a status says for the operators. False where nobody is to be told of it, or nobody can."""
        if self._consumer is None or self._problem is not None or status.name == self._consumer:
            return False
        delivery = notice(status, self._consumer)
        await self._writer.write(DELIVERIES + self._consumer, delivery.lane, delivery.encode())
        logger.info(
            "The operators are told that the consumer %s is %s.",
            status.name,
            status.state,
            extra={"action": "tell_operators", "consumer": status.name},
        )
        return True


def problem_of(consumer: str, catalog: Catalog) -> str | None:
    """Why a consumer cannot be the operators'; None where it can."""
    setting = f"NOTIFIER_OPERATORS_CONSUMER names the consumer {consumer!r}"
    found = catalog.consumers.get(consumer)
    if found is None:
        why = catalog.problems.get(f"consumer/{consumer}")
        return f"{setting}, which there is not" if why is None else f"{setting}, which cannot be used: {why}"
    try:
        fixed = found.fixed_address()
    except Exception as error:  # a plugin's fault
        return f"{setting}, which raised {type(error).__name__}"
    return None if fixed else f"{setting}, which writes to people; it must be one with a fixed address"


def notice(status: Status, consumer: str) -> Delivery:
    """The delivery that tells the operators of a status. It has the same id every time."""
    since = rfc3339(status.since or status.at)
    severity: Severity = "info" if status.state == "resumed" else "warning"
    if status.state == "disabled":
        severity = "error"
    message = Message(
        producer=PRODUCER,
        id=f"{status.name}/{status.state}/{since}",
        title=_title(status),
        content=_content(status, since),
        severity=severity,
        labels={"consumer": status.name, "state": status.state, "reason": status.reason or ""},
        occurred_at=now(),
    )
    assert message.id is not None
    return Delivery(
        id=delivery_id(PRODUCER, message.id, OPERATORS, consumer, None),
        configuration=OPERATORS,
        configuration_version=0,
        consumer=consumer,
        lane=consumer,
        message=msgspec.Raw(message.encode()),
        message_id=message.id,
        recipients=(),
    )


def _title(status: Status) -> str:
    if status.state == "resumed":
        return f"The consumer {status.name} goes on"
    return f"The consumer {status.name} is {status.state}"


def _content(status: Status, since: str) -> str:
    if status.state == "resumed":
        by = "" if status.by is None else f" {status.by} had it go on."
        return f"It was paused since {since}, and what waited goes out now.{by}"
    said = f": {status.detail}" if status.detail else ""
    why = {"unauthorized": "Its credential was refused", "paused": f"{status.by or 'Somebody'} paused it"}.get(
        status.reason or "", "Its service seems to be down"
    )
    if status.state == "disabled":
        mend = "Its deliveries become dead letters, which can be redriven."
    else:
        mend = _MENDS.get(status.reason or "", "") or _WAITS
    return f"{why}, since {since}{said}. {mend} `notifier resume {status.name}` has it go on at once."
