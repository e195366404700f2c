"""The table of redrives: which dead letters are sent again, how far that is, and what is under way."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_api.models.base import Base, Number


class RedriveRow(Base):
    """A redrive. The process that has the lease works on it, batch by batch.

    `batch` is written before its Kafka transaction and cleared after it, so that a process that takes over knows what may have
    been sent: see `control_api.redrive.redriving`.
    """

    __tablename__ = "redrive"
    __table_args__ = (Index("ix_redrive_state", "state"), Index("ix_redrive_created_at", "created_at"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True)  # a UUIDv7
    actor: Mapped[str] = mapped_column(String(200))
    team: Mapped[str | None] = mapped_column(String(63))  # the actor's: only its letters are sent again
    criteria: Mapped[dict[str, Any]]  # `control_api.redrive.criteria`
    per_second: Mapped[int] = mapped_column(Integer)
    matched: Mapped[int] = mapped_column(Integer)  # letters, when it began
    last: Mapped[int] = mapped_column(Number)  # id of the newest letter then; what came later is none of its
    reached: Mapped[int] = mapped_column(Number)  # id of the letter that was looked at last
    report: Mapped[dict[str, Any]]  # `control_api.redrive.report`
    batch: Mapped[dict[str, Any] | None]  # that may have been sent; None: nothing is in doubt
    state: Mapped[str] = mapped_column(String(20))  # running, done, cancelled, failed
    error: Mapped[str | None] = mapped_column(Text)  # why it failed, or does not go on now
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
