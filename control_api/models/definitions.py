"""The tables of the control API: definitions and their changes, publication, access, and the history of what was delivered.

`control_api.migrations` makes them; a test compares the two. Times are kept in UTC and always carry a zone. Secrets in
`definition.spec` are sealed; `audit`, `outbox` and everything else never hold one in clear.

    change ─┬─ definition ── reference        token, account, idempotency        attempt, dead_letter, run
            ├─ outbox ◄── lease (the relay)                                      history_offset
            └─ audit
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from notifier.tick_claims import METADATA
from notifier.utc import Utc

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Number = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up by itself only in an INTEGER


class Base(DeclarativeBase):
    """The base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Utc(), dict[str, Any]: Json, list[str]: Json}  # noqa: RUF012 - SQLAlchemy's name


# ---------------------------------------------------------------------------------------------------------- definitions


class ChangeRow(Base):
    """One change: one database transaction, one revision, one Kafka transaction. Revisions grow in the order of commits."""

    __tablename__ = "change"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - a revision is never given twice

    revision: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))  # name of a token or account, or `cli`
    summary: Mapped[str] = mapped_column(Text)  # for people: `create producer ci`, `apply: 3 created, 1 changed`
    published_at: Mapped[datetime | None]  # when Kafka had acknowledged it


class DefinitionRow(Base):
    """A definition as it stands. `spec` is the checked JSON of its kind's model; secrets in it are sealed."""

    __tablename__ = "definition"
    __table_args__ = (
        UniqueConstraint("kind", "name_key"),
        Index("ix_definition_revision", "revision"),
    )

    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(String(150), primary_key=True)
    # Case-folded. Names are matched without regard to case wherever people are looked up, so two users whose names differ
    # in case only could never be told apart; other kinds have lower-case names anyway.
    name_key: Mapped[str] = mapped_column(String(450))
    title: Mapped[str | None] = mapped_column(String(200))
    spec: Mapped[dict[str, Any]]
    partitions: Mapped[int | None]  # of its topic, where it is a consumer
    revision: Mapped[int] = mapped_column(Number, ForeignKey("change.revision"))  # that wrote it; also its ETag
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(String(200))


class ReferenceRow(Base):
    """That one definition names another. What is named cannot be deleted: the database sees to it as well."""

    __tablename__ = "reference"
    __table_args__ = (
        ForeignKeyConstraint(["kind", "name"], ["definition.kind", "definition.name"], ondelete="CASCADE"),
        ForeignKeyConstraint(["to_kind", "to_name"], ["definition.kind", "definition.name"]),
        Index("ix_reference_to_kind_to_name", "to_kind", "to_name"),
    )

    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(String(150), primary_key=True)
    to_kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    to_name: Mapped[str] = mapped_column(String(150), primary_key=True)


class AuditRow(Base):
    """Who did what, when. Only ever added to. `before` and `after` are specs with secrets masked."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_kind_name", "kind", "name"), Index("ix_audit_at", "at"))

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(50))  # create, replace, patch, delete, apply; token and account ones
    kind: Mapped[str] = mapped_column(String(20))  # of a definition, or `token`, `account`
    name: Mapped[str] = mapped_column(String(150))
    revision: Mapped[int | None] = mapped_column(Number)  # none: nothing to be published
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]


# ---------------------------------------------------------------------------------------------------------- publication


class OutboxRow(Base):
    """A record for `definitions`, written in the transaction of its change and deleted when Kafka has acknowledged it."""

    __tablename__ = "outbox"

    revision: Mapped[int] = mapped_column(Number, ForeignKey("change.revision"), primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # within the revision, from 0
    key: Mapped[str] = mapped_column(String(200))  # `<kind>/<name>`
    value: Mapped[str | None] = mapped_column(Text)  # Definition as JSON; none: a tombstone
    topic: Mapped[str | None] = mapped_column(String(100))  # of deliveries, to be there first; without the prefix
    partitions: Mapped[int | None]  # of that topic


class LeaseRow(Base):
    """Who may do what only one process may do at a time (publish the outbox), and until when."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    until: Mapped[datetime]


# --------------------------------------------------------------------------------------------------------------- access


class TokenRow(Base):
    """A bearer token. Only its hash is kept."""

    __tablename__ = "token"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # the public part of the token's text
    name: Mapped[str] = mapped_column(String(200))
    hash: Mapped[str] = mapped_column(String(64))  # SHA-256 in hexadecimal
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(String(200))
    expires_at: Mapped[datetime | None]  # none: never
    last_used_at: Mapped[datetime | None]  # coarse
    revoked_at: Mapped[datetime | None]


class AccountRow(Base):
    """Somebody who signs in to the console."""

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(String(150), primary_key=True)
    password_hash: Mapped[str] = mapped_column(String(300))  # Argon2id
    role: Mapped[str] = mapped_column(String(20))  # viewer, editor, admin
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class SessionRow(Base):
    """A browser in which an account is signed in. Only the hash of what its cookie holds is kept."""

    __tablename__ = "account_session"
    __table_args__ = (
        Index("ix_account_session_account", "account"),
        Index("ix_account_session_created_at", "created_at"),
    )

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 in hexadecimal
    account: Mapped[str] = mapped_column(String(150), ForeignKey("account.name", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # coarse


class IdempotencyRow(Base):
    """The answer to a POST with an Idempotency-Key, so that the same request again gets the same answer."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("ix_idempotency_at", "at"),)

    actor: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))  # SHA-256 of method, path and body
    status: Mapped[int | None]  # none: still at work
    headers: Mapped[dict[str, Any] | None]  # Location, ETag, Content-Type
    body: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]


# -------------------------------------------------------------------------------------------------------------- history
# Ids of messages and names from other worlds may be long; PostgreSQL's usual index refuses more than 2,700 bytes and its
# hash index does not, so those columns have one.


class HistoryOffsetRow(Base):
    """How far a partition has been read into the history; written in the transaction that stores what was read.

    `generation` goes up when the topic turns out to be a new one (a new broker), where offsets begin at 0 again.
    """

    __tablename__ = "history_offset"

    topic: Mapped[str] = mapped_column(String(250), primary_key=True)  # with the prefix
    partition: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(Integer, default=0)
    offset: Mapped[int] = mapped_column(Number)  # of the next record to read


class AttemptRow(Base):
    """An Attempt from the topic. Its place there is unique, so reading it twice stores it once."""

    __tablename__ = "attempt"
    __table_args__ = (
        UniqueConstraint("generation", "partition", "offset"),
        Index("ix_attempt_message", "message", postgresql_using="hash"),
        Index("ix_attempt_delivery", "delivery", postgresql_using="hash"),
        Index("ix_attempt_configuration", "configuration", "id"),
        Index("ix_attempt_consumer", "consumer", "id"),
        Index("ix_attempt_recipient", "recipient", postgresql_using="hash"),
        Index("ix_attempt_outcome", "outcome", "id"),
        Index("ix_attempt_reason", "reason", "id"),
        Index("ix_attempt_ended_at", "ended_at"),
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)  # in the order of reading
    generation: Mapped[int] = mapped_column(Integer, default=0)
    partition: Mapped[int] = mapped_column(Integer)
    offset: Mapped[int] = mapped_column(Number)
    delivery: Mapped[str] = mapped_column(Text)
    number: Mapped[int] = mapped_column(Integer)
    producer: Mapped[str] = mapped_column(Text)
    message: Mapped[str] = mapped_column(Text)
    configuration: Mapped[str | None] = mapped_column(Text)
    configuration_version: Mapped[int | None] = mapped_column(Number)
    consumer: Mapped[str | None] = mapped_column(Text)
    recipient: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(String(30))
    detail: Mapped[str | None] = mapped_column(Text)
    origin: Mapped[dict[str, Any] | None]  # {"topic", "partition", "offset"}
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    not_before: Mapped[datetime | None]


class DeadLetterRow(Base):
    """A DeadLetter from the topic. Producer to recipient are taken from the delivery's id where there is one.

    PostgreSQL's text holds no NUL: a value that has one is to be stored in `value_base64`.
    """

    __tablename__ = "dead_letter"
    __table_args__ = (
        UniqueConstraint("generation", "partition", "offset"),
        Index("ix_dead_letter_message", "message", postgresql_using="hash"),
        Index("ix_dead_letter_letter", "letter", postgresql_using="hash"),
        Index("ix_dead_letter_delivery", "delivery", postgresql_using="hash"),
        Index("ix_dead_letter_configuration", "configuration", "id"),
        Index("ix_dead_letter_consumer", "consumer", "id"),
        Index("ix_dead_letter_reason", "reason", "id"),
        Index("ix_dead_letter_at", "at"),
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)  # in the order of reading
    generation: Mapped[int] = mapped_column(Integer, default=0)
    partition: Mapped[int] = mapped_column(Integer)  # of the dead letter itself
    offset: Mapped[int] = mapped_column(Number)
    letter: Mapped[str] = mapped_column(Text)  # the DeadLetter's own id
    stage: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(String(30))
    error: Mapped[str] = mapped_column(Text)
    topic: Mapped[str] = mapped_column(Text)  # where the record came from
    origin_partition: Mapped[int | None] = mapped_column(Integer)
    origin_offset: Mapped[int | None] = mapped_column(Number)
    timestamp: Mapped[datetime | None]
    key: Mapped[str | None] = mapped_column(Text)
    value: Mapped[str | None] = mapped_column(Text)
    value_base64: Mapped[str | None] = mapped_column(Text)
    delivery: Mapped[str | None] = mapped_column(Text)
    producer: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    configuration: Mapped[str | None] = mapped_column(Text)
    consumer: Mapped[str | None] = mapped_column(Text)
    recipient: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime]
    redriven_at: Mapped[datetime | None]


class RunRow(Base):
    """A Run as `runs` last told it."""

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("configuration", "scheduled_at"),
        Index("ix_run_state", "state", "id"),
        Index("ix_run_scheduled_at", "scheduled_at"),
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    configuration: Mapped[str] = mapped_column(Text)
    scheduled_at: Mapped[datetime]
    trigger: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20))
    error: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    producers: Mapped[list[Any]] = mapped_column(Json, default=list)  # of the record


# ---------------------------------------------------------------------------------------------------------------- ticks
# The ticker's own tables; here only so that they are made and checked with all others.

for _table in METADATA.sorted_tables:
    _table.to_metadata(Base.metadata)
