"""Undelivered: what becomes of records and messages that nobody gets: dead letters and suppressed attempts.

    cannot be read, unknown producer, unknown `configuration`   dead letter, stage `route`, with its origin
    a filter of a configuration fails                           dead letter with the id `<producer>/<message id>/<configuration>`
    delivery too large for a record                             dead letter with the delivery's id
    receiver unknown or ambiguous; `configuration` disabled     one attempt `suppressed`
    recipient without an address for a consumer                 an attempt `suppressed: no_address` with the delivery's id
    no delivery and none of the above                           one attempt `suppressed` that names the filters that dropped it

Counting what filters drop is left to `streams.router.counters`.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from filters.chain import FilterFailed
from notifier.attempt import Attempt, Origin
from notifier.catalog import Configuration
from notifier.dead_letter import DeadLetter, Source
from notifier.delivery import delivery_id
from notifier.errors import RecordError
from notifier.grapheme import shortened
from notifier.message import Message
from notifier.outcome import Reason
from notifier.seldom import Seldom
from notifier.topics import ATTEMPTS, DEAD_LETTERS
from streams.inputs.batch import Batch, Record
from streams.outputs.outputs import Outputs
from streams.router.arrival import Arrival
from streams.router.exits import Refusal, id_parts
from streams.router.matcher import Matcher
from streams.router.route import Route

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

NAMED_DROPS = 5  # in the detail of an attempt
MAX_PREPARED = 1_000  # attempts that are kept prepared, for each producer
_ERROR_CHARACTERS = 2_000  # of a dead letter's error, which may quote the message

_json = msgspec.json.encode

Dropped = tuple[Route, str | None, Reason]  # by which filter; None: a user's definition cannot be used


class Prepared(NamedTuple):
    """The equal parts of all attempts of a producer's messages that say the same."""

    prefix: bytes  # front of the delivery's id: the producer
    suffix: bytes  # end of the delivery's id: the configuration, where only one considered the message
    producer: bytes  # from behind the delivery's id to the message's
    outcome: bytes  # from behind the message's id to the time
    about: bytes  # number and configuration
    rest: bytes  # detail, and the origin's beginning


class Undelivered:
    """Writes the dead letters and suppressed attempts of a router. Waits for nothing."""

    def __init__(self, outputs: Outputs, matcher: Matcher) -> None:
        self._matcher = matcher
        self._attempts = outputs.outlet(ATTEMPTS.name)
        self._dead_letters = outputs.outlet(DEAD_LETTERS.name)

    # --- dead letters ---

    def bury(self, batch: Batch, record: Record, error: Exception) -> None:
        """A dead letter of a record that could not be routed because of this error."""
        if isinstance(error, msgspec.DecodeError | RecursionError):
            try:
                Message.decode(record.value or b"")  # raises, with the words for it
            except RecordError as said:
                error = said
        if isinstance(error, RecordError):
            self._write_letter(_letter(batch, record, error.reason, str(error)))
            return
        _seldom.log(
            logging.ERROR,
            "The record %s/%s/%s cannot be routed.",
            batch.topic,
            batch.partition,
            record.offset,
            error=error,
            extra={"action": "route"},
        )
        self._write_letter(_letter(batch, record, "invalid", f"cannot be routed: {type(error).__name__}: {error}"))

    def bury_delivery(self, arrival: Arrival, delivery: str, error: str) -> None:
        """A dead letter of a delivery that is too large for a record."""
        letter = _letter(arrival.batch, arrival.record, "too_large", error)
        self._write_letter(msgspec.structs.replace(letter, id=delivery, delivery=delivery))

    def bury_for(self, arrival: Arrival, configuration: Configuration, failure: FilterFailed) -> None:
        """A dead letter of a message that a configuration cannot judge."""
        error = f"the configuration {configuration.name} cannot judge it: {failure}"
        letter = _letter(arrival.batch, arrival.record, failure.reason, error)
        producer, name = arrival.message.producer, arrival.message_id
        id_ = "/".join([quote(part, safe="") for part in (producer, name, configuration.name)])
        self._write_letter(msgspec.structs.replace(letter, id=id_, producer=producer, message=name))

    def _bury_message(self, arrival: Arrival, reason: Reason, error: str) -> None:
        letter = _letter(arrival.batch, arrival.record, reason, error)
        name = arrival.message_id
        producer = arrival.message.producer
        self._write_letter(msgspec.structs.replace(letter, id=name, producer=producer, message=name))

    def _write_letter(self, letter: DeadLetter) -> None:
        self._dead_letters.put(letter.id.encode(), letter.encode())

    # --- suppressed attempts ---

    def refuse(self, arrival: Arrival, refusals: Sequence[Refusal]) -> None:
        """An attempt for each delivery that the filters let pass and that cannot be made."""
        for refusal in refusals:
            producer, message_id = arrival.message.producer, arrival.message_id
            configuration, consumer, recipient = refusal.configuration, refusal.consumer, refusal.recipient
            delivery = delivery_id(producer, message_id, configuration.name, consumer, recipient)
            self._write_attempt(
                msgspec.structs.replace(
                    _attempt(arrival, delivery, refusal.reason, refusal.detail),
                    configuration=configuration.name,
                    configuration_version=configuration.version,
                    consumer=consumer,
                    recipient=recipient,
                )
            )

    def tell_problem(self, arrival: Arrival, reason: Reason, text: str) -> None:
        """Why no configuration considers a message: a dead letter, or an attempt where people may mend it."""
        if reason in ("unknown_producer", "unknown_configuration"):
            self._bury_message(arrival, reason, text)
            return
        message = arrival.message
        configuration = message.configuration if reason == "disabled" else None
        parts = [message.producer, arrival.message_id] + ([] if configuration is None else [configuration])
        attempt = _attempt(arrival, "/".join([quote(part, safe="") for part in parts]), reason, text)
        self._write_attempt(msgspec.structs.replace(attempt, configuration=configuration))

    def _write_attempt(self, attempt: Attempt) -> None:
        self._attempts.put(attempt.delivery.encode(), attempt.encode())

    def tell_nothing(self, arrival: Arrival, dropped: Sequence[Dropped]) -> None:
        """The one attempt of a message that made no delivery.

        Such messages may be many, so the equal parts of attempts are kept and spliced, as those of deliveries are: byte for
        byte what `Attempt.encode` would give.
        """
        batch, plan, path = arrival.batch, arrival.plan, arrival.path
        key = path.receiver is None, path.routes, *dropped
        known: dict[object, Prepared] = plan.suppressed  # lives as long as the definitions that it was made by
        keeps = not plan.readers and arrival.message.configuration is None
        prepared = known.get(key) if keeps else None
        if prepared is None:
            prepared = _prepare(arrival.message, *self._why_nothing(arrival, dropped))
            if keeps:
                if len(known) >= MAX_PREPARED:
                    known.clear()
                known[key] = prepared
        prefix, suffix, producer, outcome, about, rest = prepared
        in_id, in_json = id_parts(arrival.message_id)
        delivery = prefix + in_id + suffix
        at = _json(arrival.at)
        value = b"".join(
            (
                b'{"delivery":"', delivery, producer, in_json, outcome, at, b',"ended_at":', at, about,
                b"" if path.receiver is None else b',"recipient":' + _json(path.username),
                rest, _json(batch.topic),
                b',"partition":%d,"offset":%d}}' % (batch.partition, arrival.record.offset),
            )
        )  # fmt: skip
        self._attempts.put(delivery, value)

    def _why_nothing(self, arrival: Arrival, dropped: Sequence[Dropped]) -> tuple[Reason, str, Configuration | None]:
        """The reason, the detail, and the configuration if only one considered the message."""
        message, path = arrival.message, arrival.path
        first, count = self._matcher.considering(arrival.plan, message, NAMED_DROPS)
        if not count:
            if message.configuration is None:
                text = f"no enabled configuration considers messages of the producer {message.producer}"
            else:
                text = f"the configuration {message.configuration} does not consider messages of {message.producer}"
            return "filtered", text, None
        only = first[0].configuration if count == 1 else None
        by_index = count - len(path.routes)
        reasons: set[Reason] = {reason for _, _, reason in dropped}
        if by_index:
            reasons.add("filtered")
        if not reasons:
            return "filtered", f"no consumer: {', '.join([route.configuration.name for route in first])}", only
        # Drops of steps come first: the message got further there than in the index.
        causes: dict[Route, dict[str, None]] = {}
        for route, filter_, reason in dropped:
            causes.setdefault(route, {})[_cause(filter_, reason)] = None
        drops: list[str] = []
        named = 0  # configurations
        for route, some in causes.items():
            if len(drops) < NAMED_DROPS:
                drops += [f"{route.configuration.name}: {cause}" for cause in some]
                named += 1
        if by_index:
            for route in first:
                if len(drops) < NAMED_DROPS and route not in path.routes:
                    drops.append(self._matcher.drop_of_index(route, arrival.plan, path, message))
                    named += 1
        more = by_index + len(causes) - named
        return (
            reasons.pop() if len(reasons) == 1 else "filtered",
            ", ".join(drops[:NAMED_DROPS]) + (f" and {more} more" if more > 0 else ""),
            only,
        )


def _letter(batch: Batch, record: Record, reason: Reason, error: str) -> DeadLetter:
    return DeadLetter.of_record(
        Source(batch.topic, batch.partition, record.offset, record.timestamp, record.key, record.value),
        stage="route",
        reason=reason,
        error=shortened(error, _ERROR_CHARACTERS),
    )


def _attempt(arrival: Arrival, delivery: str, reason: Reason, detail: str) -> Attempt:
    batch = arrival.batch
    return Attempt(
        delivery=delivery,
        producer=arrival.message.producer,
        message=arrival.message_id,
        outcome="suppressed",
        reason=reason,
        started_at=arrival.at,
        ended_at=arrival.at,
        detail=detail,
        origin=Origin(topic=batch.topic, partition=batch.partition, offset=arrival.record.offset),
    )


def _prepare(message: Message, reason: Reason, detail: str, only: Configuration | None) -> Prepared:
    name = message.configuration if only is None else only.name
    about = b',"number":1'
    if name is not None:
        about += b',"configuration":' + _json(name)
    if only is not None:
        about += b',"configuration_version":' + _json(only.version)
    return Prepared(
        prefix=quote(message.producer, safe="").encode() + b"/",
        producer=b'","producer":' + _json(message.producer) + b',"message":"',
        suffix=b"" if name is None else b"/" + quote(name, safe="").encode(),
        outcome=b'","outcome":"suppressed","reason":' + _json(reason) + b',"started_at":',
        about=about,
        rest=b',"detail":' + _json(detail) + b',"origin":{"topic":',
    )


def _cause(filter_: str | None, reason: Reason) -> str:
    """The filter that dropped, with the reason where that says more: `at-work (on_leave)`."""
    if filter_ is None or reason == "filtered":
        return filter_ or reason
    return f"{filter_} ({reason})"
