"""Comparison: what two versions of a configuration make of the same messages, counted, with samples of where they differ.

A record costs itself only: what cannot be read, or what a plugin raises for, is counted. Without I/O, and in little memory: what
is kept grows with the names in use, up to a bound, and not with the messages.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from control_api.dry_run.deliveries import Deliveries, Delivery
from control_api.dry_run.report import MOST_SAMPLES, Report, Sample, Samples
from control_api.dry_run.version import Version
from control_api.explain.ways import Told
from control_api.models.record_fields import without_nul
from notifier.errors import RecordError
from notifier.message import Message, check_value, read_message, topic_id
from notifier.one_line import one_line
from notifier.seldom import Seldom

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

_SHOWN = 120  # characters of a message in a sample


class Record(Protocol):
    """A record of `messages` as aiokafka gives it."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class _Head(msgspec.Struct, gc=False):
    """The part of a message that says whether the rest is worth a look."""

    producer: str


_head = msgspec.json.Decoder(_Head).decode
_message = msgspec.json.Decoder(Message).decode


class Comparison:
    """Judges messages by the stored version of a configuration and by a draft; None in place of the draft: by the stored one."""

    def __init__(self, now: Version, draft: Version | None) -> None:
        self.report = Report()
        self.samples = Samples()
        self.now = now
        self.draft = draft
        self._alike = draft is not None and draft.knows_all_of(now)
        self._producers = frozenset(now.producers) | frozenset(() if draft is None else draft.producers)

    def judge(self, records: Iterable[Record]) -> None:
        """Judges some records, each by its own time. Does not raise."""
        report = self.report
        for record in records:
            report.messages += 1
            try:
                value = check_value(record.value)
                if self._is_of_others(value):
                    continue
                message = _read(value)
                if message.producer in self._producers:
                    self._compare(message, record)
            except RecordError:
                report.unreadable += 1
            except Exception as error:  # a plugin's fault must cost this record alone, as it does in a router
                report.unreadable += 1
                _seldom.log(
                    logging.ERROR,
                    "The dry run cannot judge the record %s/%s.",
                    record.partition,
                    record.offset,
                    error=error,
                    extra={"action": "dry_run"},
                )

    def _is_of_others(self, value: bytes) -> bool:
        """Whether neither version takes messages of its producer. What is no message at all is looked at as a whole."""
        try:
            return _head(value).producer not in self._producers
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False

    def _compare(self, message: Message, record: Record) -> None:
        report, draft = self.report, self.draft
        report.considered += 1
        written, message = message, self.now.mapped(message)
        by_now = self.now.quickly(message)
        by_draft = by_now if draft is None else draft.quickly(message)
        if by_now is None or by_draft is None:
            by_now, by_draft = self._in_full(message, record)
        report.delivers_now += len(by_now)
        report.would_deliver += len(by_draft)
        if draft is None or by_draft is by_now or by_draft.keys() == by_now.keys():
            return
        at = _time_of(record)
        id_ = message.id or topic_id(record.partition, record.offset, record.timestamp)
        told = Told(message=written, value=record.value or b"", id=id_)
        added = [delivery for delivery in by_draft if delivery not in by_now]
        dropped = [delivery for delivery in by_now if delivery not in by_draft]
        report.added += len(added)
        report.dropped += len(dropped)
        _show(self.samples.added, told, at, added, self.now)
        _show(self.samples.dropped, told, at, dropped, draft)

    def _in_full(self, message: Message, record: Record) -> tuple[Deliveries, Deliveries]:
        """The deliveries by the stored version and by the draft, and a count where a filter of the latter fails."""
        at = _time_of(record)
        # Names are looked up once where both versions know the same people.
        people = self.now.people(message) if self._alike else None
        by_now, failure = self.now.deliveries(message, at, people)
        by_draft = by_now
        if self.draft is not None:
            by_draft, failure = self.draft.deliveries(message, at, people)
        self.report.failed += failure is not None
        return by_now, by_draft


def _time_of(record: Record) -> datetime:
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)


def _show(samples: list[Sample], told: Told, at: datetime, only: Sequence[Delivery], other: Version) -> None:
    """Adds samples of deliveries that only one version makes, with what the other one says."""
    for delivery in only[: MOST_SAMPLES - len(samples)]:
        consumer, recipient = delivery
        samples.append(
            Sample(
                producer=without_nul(told.message.producer),
                message=without_nul(told.id),
                at=at,
                text=one_line(told.message.title or told.message.content, _SHOWN),
                consumer=consumer,
                recipient=recipient,
                why=one_line(other.why_not(told, at, delivery)),
            )
        )


def _read(value: bytes) -> Message:
    """A message. Raises RecordError."""
    if value.isascii():
        try:
            message = _message(value)
            # What needs no second look: its version is known, and it holds no times, which have bounds.
            if message.v == Message.VERSION and not message.has_times:
                return message
        except (msgspec.DecodeError, RecursionError):
            pass
    return read_message(value)[0]
