"""Review: what the newest definitions say of a delivery that older ones routed.

The router has judged the message. What was changed while the delivery waited counts nevertheless: a configuration that was
switched off or deleted, a person who was deleted, taken out of the configuration, went on leave or got another address, a
filter that drops the message now, a shorter lifetime. Working hours are not judged again: nobody is to miss a message since its
delivery was late. Whether the person mutes it is judged here alone, also of what has not waited.

Pure, without I/O. What follows is done by `streams.delivery.wanted`, for what is parked by `streams.delivery.parking`.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from filters.chain import Chain
from filters.decision import filter_of, missing
from notifier.catalog import Catalog, Configuration
from notifier.definition import definition_key
from notifier.delivery import OWN, Delivery
from notifier.errors import RecordError
from notifier.expiry import expired_text, expiry, shortest, written_at
from notifier.folded import folded
from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin import Candidate, Filter
from notifier.reach import called
from notifier.record import now, rfc3339
from notifier.user import User

SURE_AFTER_S = 5.0  # of what seems to be gone: definitions may be on their way, and a consumer be deleted next
_REMEMBERED = (
    10_000  # configurations beyond which those that changed a minute ago are forgotten, when as many are new; addresses
)
_FORGOTTEN_AFTER_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """Why a delivery is not made any more."""

    reason: Reason
    detail: str
    dead: bool = False  # it becomes a dead letter, and is not merely suppressed


class Review:
    """Reviews deliveries by the newest catalog; `follow` takes each new one."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._changed: dict[str, float] = {}  # configuration → when it was changed or first missed, `time.monotonic()`
        self._kept = _REMEMBERED
        self._broken: dict[str, float] = {}  # configuration → since when it cannot be used, `time.monotonic()`
        self._reached: dict[tuple[str, str], tuple[str, str | None]] = {}  # consumer and username → name and address
        # Configuration → username → the version without the person, as far as this process saw people being taken out.
        self._taken_out: dict[str, dict[str, int]] = {}

    def follow(self, catalog: Catalog) -> frozenset[str]:
        """Takes a new catalog. Returns the names of the users that it changes."""
        before, self._catalog = self._catalog, catalog
        self._reached.clear()
        for name in [name for name in self._broken if self.problem(name) is None]:
            del self._broken[name]
        if before.configurations is not catalog.configurations:
            for name, old in before.configurations.items():
                new = catalog.configurations.get(name)
                if new is not old:
                    self._changed[name] = time.monotonic()
                if new is not None and new is not old:
                    self._taken_out.setdefault(name, {}).update(dict.fromkeys(old.users - new.users, new.version))
        if before.users is catalog.users:
            return frozenset()
        names = before.users.keys() | catalog.users.keys()
        return frozenset([name for name in names if before.users.get(name) is not catalog.users.get(name)])

    def is_off(self, configuration: str) -> bool:
        """Whether a configuration is deleted or switched off."""
        found = self._catalog.configurations.get(configuration)
        return configuration not in OWN and (found is None or not found.spec.enabled)

    def problem(self, configuration: str) -> str | None:
        """Why a configuration cannot be used; None where it can, or is not defined."""
        return self._catalog.problems.get(definition_key("configuration", configuration))

    def broken_s(self, configuration: str) -> float:
        """For how many seconds a configuration has been seen as one that cannot be used; 0 for any other."""
        if self.problem(configuration) is None:
            return 0.0
        return time.monotonic() - self._broken.setdefault(configuration, time.monotonic())

    def expiry(self, delivery: Delivery, timestamp_ms: int | None) -> datetime | None:
        """When a delivery expires: as was known when it was routed, or by what its configuration and consumer say now.

        `timestamp_ms` is its record's, in milliseconds since 1970.
        """
        configuration = self._catalog.configurations.get(delivery.configuration)
        consumer = self._catalog.consumers.get(delivery.consumer)
        ttls_s = (
            None if configuration is None else configuration.spec.ttl_s,
            None if consumer is None else consumer.policy.ttl_s,
        )
        if ttls_s == (None, None):
            return delivery.expires_at
        ttl_s = shortest(*ttls_s)
        return expiry(delivery.expires_at, delivery.routed_at or written_at(timestamp_ms, now()), ttl_s)

    def of(self, delivery: Delivery, *, waited: bool, timestamp_ms: int | None = None) -> Delivery | Ended | None:
        """The delivery as it is to be made now, or why it is not; None: not known yet, ask again in a moment.

        One that has not `waited` was routed a moment ago, perhaps by newer definitions than are known here.
        """
        expires_at = self.expiry(delivery, timestamp_ms)
        if expires_at is not None and expires_at <= now():
            return Ended(reason="expired", detail=expired_text(delivery.consumer, expires_at))
        if delivery.configuration in OWN:
            return delivery
        configuration = self._catalog.configurations.get(delivery.configuration)
        if configuration is None:
            return self._missing(delivery.configuration)
        if configuration.version >= delivery.configuration_version:
            if not configuration.spec.enabled:
                return Ended(reason="disabled", detail=f"the configuration {configuration.name} is switched off")
            named = delivery.given_up_by[0] if delivery.given_up_by else delivery.consumer
            if named not in configuration.spec.consumers:
                detail = f"the configuration {configuration.name} sends to the consumer {named} no more"
                return Ended(reason="disabled", detail=detail) if self._is_sure(configuration.name) else None
        muted = self._muted(delivery)
        if muted is not None or not waited:
            return muted or delivery
        if delivery.recipient is None:
            return self._to_everyone(delivery, configuration)
        return self._to_one(delivery, configuration, delivery.recipient)

    def _muted(self, delivery: Delivery) -> Ended | None:
        """That the recipient wants to hear nothing now. What goes to a chat of many is not one person's to mute."""
        user = self._catalog.users.get(delivery.recipient or "")
        if user is None or delivery.address is None:
            return None
        until = user.muted_at(now(), delivery.configuration)
        return (
            None if until is None else Ended(reason="muted", detail=f"{user.username} is muted until {rfc3339(until)}")
        )

    def _missing(self, name: str) -> Ended | None:
        if self.problem(name) is not None or not self._is_sure(name):
            return None
        return Ended(reason="disabled", detail=f"the configuration {name} was deleted")

    def _is_sure(self, configuration: str) -> bool:
        at = time.monotonic()
        if len(self._changed) > self._kept:  # a record may name any configuration
            self._changed = {name: seen for name, seen in self._changed.items() if seen > at - _FORGOTTEN_AFTER_S}
            self._kept = len(self._changed) + _REMEMBERED
        return at - self._changed.setdefault(configuration, at) >= SURE_AFTER_S

    def _to_everyone(self, delivery: Delivery, configuration: Configuration) -> Delivery | Ended:
        ended = None
        if not delivery.recipients:
            return self._dropped(delivery, configuration, None) or delivery
        left = []
        for username in delivery.recipients:
            found = self._person(delivery, configuration, username)
            if isinstance(found, Ended):
                ended = found
            else:
                left.append(username)
        if ended is None:
            return delivery
        return msgspec.structs.replace(delivery, recipients=tuple(left)) if left else ended

    def _to_one(self, delivery: Delivery, configuration: Configuration, recipient: str) -> Delivery | Ended:
        user = self._person(delivery, configuration, recipient)
        consumer = self._catalog.consumers.get(delivery.consumer)
        if isinstance(user, Ended):
            return user
        if consumer is None:
            return delivery
        reached = self._reached.get((delivery.consumer, recipient))
        if reached is None:
            try:
                reached = called(consumer, user), None if consumer.fixed_address() else consumer.address(user)
            except Exception:  # a plugin's fault; the router had an address from it
                return delivery
            if len(self._reached) >= _REMEMBERED:
                self._reached.clear()
            self._reached[delivery.consumer, recipient] = reached
        name, address = reached
        if address is None and not consumer.fixed_address():
            detail = f"{recipient} has no address for the consumer {delivery.consumer} any more"
            return Ended(reason="no_address", detail=detail)
        if (name, address) == (delivery.receiver, delivery.address):
            return delivery
        # What is released goes to the lane in which newer ones to that address are.
        lane = address if address is not None and delivery.lane == delivery.address else delivery.lane
        return msgspec.structs.replace(delivery, receiver=name, address=address, lane=lane)

    def _person(self, delivery: Delivery, configuration: Configuration, username: str) -> User | Ended:
        """A user whom the message is for still."""
        user = self._catalog.users.get(username)
        if user is None:
            return Ended(reason="unknown_receiver", detail=missing(self._catalog, "user", username))
        is_newer = configuration.version >= delivery.configuration_version
        if is_newer and username not in configuration.users and self._was_in(delivery, configuration, username):
            detail = f"{username} is not among the users of the configuration {configuration.name} any more"
            return Ended(reason="filtered", detail=detail)
        return self._dropped(delivery, configuration, user) or user

    def _was_in(self, delivery: Delivery, configuration: Configuration, username: str) -> bool:
        """Whether the message was for a person as one of the configuration's users; one that names its receiver need not be."""
        if delivery.configuration_version < self._taken_out.get(configuration.name, {}).get(username, 0):
            return True
        try:
            return delivery.read_message().receiver is None
        except RecordError:
            return False

    def _dropped(self, delivery: Delivery, configuration: Configuration, receiver: User | None) -> Ended | None:
        """Why the configuration's filters do not let the message pass any more; None where they do."""
        if not configuration.spec.filters:
            return None
        filters = [(name, filter_of(self._catalog, name)) for name in configuration.spec.filters]
        on_leave = receiver is not None and receiver.on_leave
        chain = Chain(
            [
                (name, filter_)
                for name, filter_ in filters
                if filter_ is not None and (on_leave or not _by_hours(filter_))
            ]
        )
        if not chain.filters:
            return None
        try:
            message = delivery.read_message()
        except RecordError:  # the consumer says so
            return None
        candidate = Candidate(
            message=message, users=configuration.users, at=now(), sender=self._sender(message), receiver=receiver
        )
        verdict = chain.judge(candidate)
        if verdict.passed:
            return None
        detail = f"the filter {verdict.filter} of the configuration {configuration.name} lets it pass no more"
        if verdict.failure is not None:
            detail = str(verdict.failure)
        return Ended(reason=verdict.reason, detail=detail, dead=verdict.failure is not None)

    def _sender(self, message: Message) -> User | None:
        producer = self._catalog.producers.get(message.producer)
        if producer is None or message.sender is None:
            return None
        known = self._catalog.directory.world(producer.world_of()).get(folded(message.sender))
        return known if isinstance(known, User) else None


def _by_hours(filter_: Filter[Any]) -> bool:
    """Whether receiver and time alone decide. Of these only a leave is judged again."""
    return type(filter_).holds_until is not Filter.holds_until
