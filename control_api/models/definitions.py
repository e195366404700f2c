"""The tables of the definitions, of their changes, and of what is still to be published.

Secrets in `definition.spec` are sealed; `audit`, `outbox` and everything else never hold one in clear.

    change ─┬─ definition ── reference
            ├─ outbox ◄── lease (the relay)
            └─ audit
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_api.models.base import Base, Number


class ChangeRow(Base):
    """One change: one database transaction, one revision, one Kafka transaction. Revisions grow in commit order."""

    __tablename__ = "change"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - a revision is never used twice

    revision: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))  # name of a token or account, or `cli`
    summary: Mapped[str] = mapped_column(Text)  # for people: `create producer ci`, `apply: 3 created, 1 changed`
    published_at: Mapped[datetime | None]  # when Kafka acknowledged it


class DefinitionRow(Base):
    """A definition in its current state. `spec` is the validated JSON of its kind's model, with secrets sealed."""

    __tablename__ = "definition"
    __table_args__ = (
        UniqueConstraint("kind", "name_key"),
        Index("ix_definition_revision", "revision"),
    )

    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(String(150), primary_key=True)
    # Folded (`notifier.folded`), as people are looked up: the names of two users may not differ in case or Unicode form alone.
    # Two that did before names were folded so are both there, the later one under its name in lower case.
    name_key: Mapped[str] = mapped_column(String(450))
    title: Mapped[str | None] = mapped_column(String(200))
    team: Mapped[str | None] = mapped_column(String(63))  # as in `spec`
    spec: Mapped[dict[str, Any]]
    partitions: Mapped[int | None]  # of a consumer's topic
    # The change that wrote it; also its ETag.
    revision: Mapped[int] = mapped_column(Number, ForeignKey("change.revision"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(String(200))


class ReferenceRow(Base):
    """A reference from one definition to another. The foreign key keeps a definition that is referred to from being deleted."""

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
    """The audit log. The database itself refuses to change or delete a row. `before` and `after` are masked specs."""

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_at", "at"),
        Index("ix_audit_revision", "revision"),
        Index("ix_audit_name_kind_id", "name", "kind", "id"),
        Index("ix_audit_kind_id", "kind", "id"),
        Index("ix_audit_actor_id", "actor", "id"),
        Index("ix_audit_action_id", "action", "id"),
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(50))  # docs/history.md lists them
    kind: Mapped[str] = mapped_column(String(20))  # of a definition, or `token`, `account`
    name: Mapped[str] = mapped_column(String(150))
    revision: Mapped[int | None] = mapped_column(Number)  # None: nothing is published
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]


# --- publication ---


class OutboxRow(Base):
    """A record for `definitions`: written in the transaction of its change, deleted once Kafka has acknowledged it."""

    __tablename__ = "outbox"

    revision: Mapped[int] = mapped_column(Number, ForeignKey("change.revision"), primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # within the revision, from 0
    key: Mapped[str] = mapped_column(String(200))  # `<kind>/<name>`
    value: Mapped[str | None] = mapped_column(Text)  # Definition as JSON; None: a tombstone
    # A topic of deliveries, without the prefix, that the relay creates first.
    topic: Mapped[str | None] = mapped_column(String(100))
    partitions: Mapped[int | None]  # of that topic


class LeaseRow(Base):
    """A lease on work that one process does at a time (publishing the outbox)."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    until: Mapped[datetime]
