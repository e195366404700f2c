"""Undelivered: what becomes of records and messages that nobody gets: dead letters and suppressed attempts.

    cannot be read, unknown producer, unknown `configuration`   dead letter, stage `route`, with its origin
    a filter of a configuration fails                           dead letter with the id `<producer>/<message id>/<configuration>`
    delivery too large for a record                             dead letter with the delivery's id
    receiver unknown or ambiguous; `configuration` disabled     one attempt `suppressed`
    recipient without an address for a consumer                 an attempt `suppressed: no_address` with the delivery's id
    delivery that would be expired                              an attempt `suppressed: expired` with the delivery's id
    no delivery and none of the above                           one attempt `suppressed` that names the filters that dropped it

Counting what filters drop is left to `streams.router.counters`.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

import msgspec

from filters.chain import FilterFailed
from notifier.attempt import Attempt, Origin
from notifier.catalog import Configuration
from notifier.dead_letter import DeadLetter, Source
from notifier.delivery import Delivery, delivery_id
from notifier.errors import RecordError
from notifier.expiry import expired_text
from notifier.grapheme import shortened
from notifier.message import Message
from notifier.outcome import Reason
from notifier.seldom import Seldom
from notifier.topics import ATTEMPTS, DEAD_LETTERS
from notifier.user import User
from streams.inputs.batch import Batch, Record
from streams.outputs.outputs import Outputs
from streams.router.arrival import Arrival
from streams.router.exits import Refusal
from streams.router.matcher import Matcher
from streams.router.person import Members
from streams.router.route import Route, Step, cause, inner_json, label, name_of

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

NAMED_DROPS = 5  # in the detail of an attempt
_ERROR_CHARACTERS = 2_000  # of a dead letter's error, which may quote the message

_json = msgspec.json.encode

Dropped = tuple[Route, Step | None, Reason]  # by which filter; None: a user's definition cannot be used


# What an attempt says of a message that made no delivery: the end of its delivery's id, the reason, the part about the
# configuration, and the detail, as they stand in the JSON.
Told = tuple[bytes, bytes, bytes, bytes]


class Undelivered:
    """Writes the dead letters and suppressed attempts of a router. Waits for nothing."""

    def __init__(self, outputs: Outputs, matcher: Matcher) -> None:
        self._matcher = matcher
        self._attempts = outputs.outlet(ATTEMPTS.name)
        self._dead_letters = outputs.outlet(DEAD_LETTERS.name)
        self._keys: list[bytes] = []  # of attempts that are not put yet
        self._values: list[bytes] = []  # likewise
        self.made = 0  # bytes, since the router has set it to 0

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
        value = letter.encode()
        self.made += len(value)
        self._dead_letters.put(letter.id.encode(), value)

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

    def expire(self, arrival: Arrival, delivery: Delivery, expires_at: datetime) -> None:
        """An attempt of a delivery that is not made, since its message expired before."""
        self._write_attempt(
            msgspec.structs.replace(
                _attempt(arrival, delivery.id, "expired", expired_text(delivery.consumer, expires_at)),
                configuration=delivery.configuration,
                configuration_version=delivery.configuration_version,
                consumer=delivery.consumer,
                recipient=delivery.recipient,
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
        value = attempt.encode()
        self.made += len(value)
        self._attempts.put(attempt.delivery.encode(), value)

    def tell_nothing(self, arrival: Arrival, dropped: Sequence[Dropped]) -> None:
        """The one attempt of a message that made no delivery; `flush` puts it into its outlet.

        Such messages may be many, and all different, so it is spliced from parts of which none depends on more than the
        producer, the receiver or a configuration: byte for byte what `Attempt.encode` would give.
        """
        plan, person = arrival.plan, arrival.person
        told: Told | None = None
        alike = not arrival.remained and person is not None and arrival.message.configuration is None
        if alike:  # all such messages of a producer, where nothing but the receiver is looked up
            told = plan.told
        if told is None:
            told = self._why_nothing(arrival, dropped)
            if alike and not plan.readers:
                plan.told = told
        end, reason, about, detail = told
        delivery = plan.attempted + arrival.in_id + end
        self._keys.append(delivery)
        self._values.append(
            b"".join(
                (
                    b'{"delivery":"', delivery, plan.attempts, arrival.in_json, b'","outcome":"suppressed","reason":"', reason,
                    arrival.moment, about, b"" if person is None else person.recipient, b',"detail":"', detail,
                    arrival.origin, b"%d}}" % arrival.record.offset,
                )
            )
        )  # fmt: skip

    def tell_nothing_to(
        self,
        group: Members,
        arrival: Arrival,
        remaining: Mapping[Route, Sequence[User]],
        dropped: Sequence[Dropped],
    ) -> None:
        """As `tell_nothing`, of a message for a group. `remaining`: for whom of it the index did not drop the message."""
        drops = list(dropped)
        for route, users in remaining.items():
            if len(users) < len(group.users):
                there = {user.username for user in users}
                other = next(user for user in group.users if user.username not in there)  # one speaks for all
                person = self._matcher.person_of(other)
                step = self._matcher.drop_of_index(route, arrival.plan, person, arrival.message)
                drops.append((route, step, "filtered"))
        arrival.routes, arrival.remained = sorted(remaining, key=name_of), len(remaining)
        self.tell_nothing(arrival, drops)

    def flush(self) -> None:
        """Puts what `tell_nothing` has written since the last call into its outlet."""
        if self._keys:
            self.made += sum(map(len, self._values))
            self._attempts.put_all(self._keys, self._values)
            self._keys, self._values = [], []

    def _why_nothing(self, arrival: Arrival, dropped: Sequence[Dropped]) -> Told:
        message = arrival.message
        first, count = self._matcher.considering(arrival.plan, message, NAMED_DROPS)
        only = first[0].configuration if count == 1 else None
        by_index = count - arrival.remained
        reason: Reason = "filtered"
        if not count:
            if message.configuration is None:
                text = f"no enabled configuration considers messages of the producer {message.producer}"
            else:
                text = f"the configuration {message.configuration} does not consider messages of {message.producer}"
            detail = inner_json(text)
        elif not dropped and not by_index:
            detail = b"no consumer: " + b", ".join([label(route) for route in first])
        else:
            reasons: set[Reason] = {reason for _, _, reason in dropped}
            if by_index:
                reasons.add("filtered")
            if len(reasons) == 1:
                (reason,) = reasons
            detail = self._causes(arrival, dropped, first, by_index)
        name = message.configuration if only is None else only.name
        end, about = b"", b""
        if name is not None:
            end = b"/" + quote(name, safe="").encode()
            about = b',"configuration":' + _json(name)
        if only is not None:
            about += b',"configuration_version":' + _json(only.version)
        return end, reason.encode(), about, detail

    def _causes(self, arrival: Arrival, dropped: Sequence[Dropped], first: Sequence[Route], by_index: int) -> bytes:
        """Which filters dropped a message, of at most `NAMED_DROPS`."""
        # Drops of steps come first: the message got further there than in the index.
        causes: dict[Route, dict[bytes, None]] = {}
        for route, step, reason in dropped:
            causes.setdefault(route, {})[cause(route, step, reason)] = None
        drops: list[bytes] = []
        named = 0  # configurations
        for some in causes.values():
            if len(drops) < NAMED_DROPS:
                drops += some
                named += 1
        if by_index:
            for route in first:
                if len(drops) < NAMED_DROPS and route not in arrival.routes:
                    drops.append(self._cause_of_index(arrival, route))
                    named += 1
        more = by_index + len(causes) - named
        return b", ".join(drops[:NAMED_DROPS]) + (b" and %d more" % more if more > 0 else b"")

    def _cause_of_index(self, arrival: Arrival, route: Route) -> bytes:
        plan, person = arrival.plan, arrival.person
        alike = (
            person is not None and not plan.readers
        )  # then only the filter that looks up the receiver can have dropped it
        text = plan.drops.get(route) if alike else None
        if text is None:
            step = self._matcher.drop_of_index(route, plan, person, arrival.message)
            text = cause(route, step, "filtered")
            if alike:
                plan.drops[route] = text
        return text


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
