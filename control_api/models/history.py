"""The tables of the history: messages, attempts, dead letters, runs, answers and counters, and how far each topic is read.

The columns of a record are made from its struct (`control_api.models.record_fields`). `ATTEMPT`, `DEAD_LETTER`, `RUN` and
`ANSWER` hold what differs: names and types of columns, fields that are not stored, the order of answers, the descriptions in
GraphQL. A new field needs none of them: it comes last in answers.

Ids of messages may be long. PostgreSQL's usual index refuses more than 2,700 bytes and its hash index does not, so columns
that hold them have a hash index.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_api.models.base import Base, Json, Number
from control_api.models.record_fields import Differs, FieldType, RecordFields
from notifier.answer import Answer
from notifier.attempt import Attempt
from notifier.dead_letter import DeadLetter
from notifier.run import Run
from notifier.utc import Utc

_REASON = String(30)
_NOT_STORED = Differs(stored=False)

# --- what differs from the structs ---

ATTEMPT = RecordFields(
    Attempt,
    {
        "number": Differs(after="delivery", after_in_graphql="recipient", description="From 1."),
        "configuration_version": Differs(column_type=Number, after_in_graphql="number"),
        "outcome": Differs(after="recipient"),
        "reason": Differs(column_type=_REASON, after="outcome"),
        "origin": Differs(after_in_graphql="not_before", description="Topic, partition and offset of the message."),
        "started_at": Differs(after="origin"),
        "ended_at": Differs(after="started_at"),
    },
)

_ORIGIN = "Where the record came from."
DEAD_LETTER = RecordFields(
    DeadLetter,
    {
        # The columns `id`, `partition` and `offset` are those of the row and of the dead letter's own place.
        "id": Differs(column="letter"),
        "partition": Differs(column="origin_partition", after_in_graphql="value_base64", description=_ORIGIN),
        "offset": Differs(
            holds=FieldType.BIG_INTEGER, column="origin_offset", after_in_graphql="partition", description=_ORIGIN
        ),
        "reason": Differs(column_type=_REASON),
        "value_omitted": Differs(
            added=bool,
            after="value_base64",
            description="It is too large for a list; ask for the dead letter itself.",
        ),
        "delivery": Differs(description="The delivery's id."),
        "producer": Differs(answered=False),  # part of the delivery's id
        "message": Differs(answered=False),  # part of the delivery's id
        "attempts": Differs(description="How often it was tried."),
        "at": Differs(after="attempts"),
    },
)

RUN = RecordFields(
    Run,
    {
        "owner": _NOT_STORED,
        "lease_until": _NOT_STORED,
        "takeovers": _NOT_STORED,
        "producers": Differs(
            after="ended_at",
            items={
                "messages": Differs(after_in_graphql="error", description="How many it produced."),
                "started_at": _NOT_STORED,
                "ended_at": _NOT_STORED,
            },
        ),
    },
)

# The column `id` is that of the row. A press has one id however often it was heard.
ANSWER = RecordFields(Answer, {"id": Differs(column="press"), "at": Differs(after="until")})

# --- the tables ---


class HistoryOffsetRow(Base):
    """How far a partition has been read; written in the transaction that stores the records.

    `generation` goes up when the topic is a new one of that name (on a new broker, say), whose offsets begin at 0 again.
    """

    __tablename__ = "history_offset"

    topic: Mapped[str] = mapped_column(String(250), primary_key=True)  # with the prefix
    partition: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(Integer, default=0)
    offset: Mapped[int] = mapped_column(Number)  # of the next record to read


def _key() -> Column[int]:
    """The key of a row, in the order of reading; cursors are made of it."""
    return Column("id", Number, primary_key=True, autoincrement=True)


def _place() -> tuple[Column[Any] | UniqueConstraint, ...]:
    """Where a record lies on its topic. A place is unique, so reading a record twice stores it once."""
    return (
        Column("generation", Integer, nullable=False, default=0),
        Column("partition", Integer, nullable=False),
        Column("offset", Number, nullable=False),
        UniqueConstraint("generation", "partition", "offset"),
    )


class MessageRow(Base):
    """A message on `messages`: where it lies, and its text.

    Producer and id are also one number, which another message may share: who reads sees whether it is the one. What was
    stored before texts were kept, and what is no message but has both, has its place alone.
    """

    __table__ = Table(
        "message",
        Base.metadata,
        _key(),
        *_place(),
        Column("digest", Number, nullable=False),  # of producer and id, see `control_api.history.digest`
        Column("at", Utc(), nullable=False),  # the record's time
        Column("producer", Text),
        Column("message", Text),  # its id
        Column("sender", Text),
        Column("receiver", Text),
        Column("title", Text),
        Column("content", Text),
        Column("url", Text),
        Column("severity", String(20)),
        Column("labels", Json),
        Column("cut", Boolean),  # whether a text is longer than what is kept of it
        Column("words", Text),  # that it is found by, see `control_api.history.words`
        Index("ix_message_digest", "digest"),
        Index("ix_message_at", "at", "id"),
        Index("ix_message_producer", "producer", "id"),
        Index("ix_message_message", "message", "id"),
    )

    if TYPE_CHECKING:  # the columns that code names
        id: Mapped[int]
        generation: Mapped[int]
        partition: Mapped[int]
        offset: Mapped[int]
        digest: Mapped[int]
        at: Mapped[datetime]
        producer: Mapped[str | None]
        message: Mapped[str | None]
        words: Mapped[str | None]


class CounterRow(Base):
    """How many attempts there were in a minute, one by one and as the router counted them."""

    __tablename__ = "counter"
    __table_args__ = (
        UniqueConstraint("minute", "configuration", "outcome", "reason"),
        Index("ix_counter_configuration", "configuration", "minute"),
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    minute: Mapped[int] = mapped_column(Number)  # since 1970
    configuration: Mapped[str] = mapped_column(Text)  # empty: of none, or of several
    outcome: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(_REASON)
    count: Mapped[int] = mapped_column(Number)


class AttemptRow(Base):
    """An Attempt from the topic."""

    __table__ = Table(
        "attempt",
        Base.metadata,
        _key(),
        *_place(),
        *ATTEMPT.columns(),
        Column("digest", Number),  # of producer and message, as in `message`; null: stored before texts were kept
        Index("ix_attempt_digest", "digest"),
        Index("ix_attempt_producer", "producer", "id"),
        Index("ix_attempt_message", "message", postgresql_using="hash"),
        Index("ix_attempt_delivery", "delivery", postgresql_using="hash"),
        Index("ix_attempt_configuration", "configuration", "id"),
        Index("ix_attempt_consumer", "consumer", "id"),
        Index("ix_attempt_recipient", "recipient", "id"),
        Index("ix_attempt_outcome", "outcome", "id"),
        Index("ix_attempt_reason", "reason", "id"),
        Index("ix_attempt_ended_at", "ended_at", "id"),
    )

    if TYPE_CHECKING:  # the columns that code names
        id: Mapped[int]
        offset: Mapped[int]
        producer: Mapped[str]
        message: Mapped[str]
        recipient: Mapped[str | None]
        ended_at: Mapped[datetime]
        digest: Mapped[int | None]


class DeadLetterRow(Base):
    """A DeadLetter from the topic. Producer, message, configuration, consumer and recipient come from the delivery's id.

    A value with a NUL, which PostgreSQL cannot store as text, is in `value_base64`.
    """

    __table__ = Table(
        "dead_letter",
        Base.metadata,
        _key(),
        *_place(),
        *DEAD_LETTER.columns(),
        Column("configuration", Text),
        Column("consumer", Text),
        Column("recipient", Text),
        Index("ix_dead_letter_message", "message", postgresql_using="hash"),
        Index("ix_dead_letter_letter", "letter", postgresql_using="hash"),
        Index("ix_dead_letter_delivery", "delivery", postgresql_using="hash"),
        Index("ix_dead_letter_configuration", "configuration", "id"),
        Index("ix_dead_letter_consumer", "consumer", "id"),
        Index("ix_dead_letter_reason", "reason", "id"),
        Index("ix_dead_letter_at", "at"),
    )

    if TYPE_CHECKING:  # the columns that code names
        id: Mapped[int]
        letter: Mapped[str]
        at: Mapped[datetime]
        value: Mapped[str | None]
        value_base64: Mapped[str | None]


class RunRow(Base):
    """The last state of a Run."""

    __table__ = Table(
        "run",
        Base.metadata,
        _key(),
        *RUN.columns(),
        UniqueConstraint("configuration", "scheduled_at"),
        Index("ix_run_state", "state", "id"),
        Index("ix_run_scheduled_at", "scheduled_at"),
    )

    if TYPE_CHECKING:  # the columns that code names
        id: Mapped[int]
        configuration: Mapped[str]
        scheduled_at: Mapped[datetime]


class AnswerRow(Base):
    """An Answer from the topic."""

    __table__ = Table(
        "answer",
        Base.metadata,
        _key(),
        *_place(),
        *ANSWER.columns(),
        UniqueConstraint("press"),
        Index("ix_answer_message", "message", postgresql_using="hash"),
        Index("ix_answer_delivery", "delivery", postgresql_using="hash"),
        Index("ix_answer_configuration", "configuration", "id"),
        Index("ix_answer_user", "user", "id"),
        Index("ix_answer_at", "at"),
    )

    if TYPE_CHECKING:  # the columns that code names
        id: Mapped[int]
        at: Mapped[datetime]
