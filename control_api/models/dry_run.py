"""The table of dry runs: what was asked for, who works on it, and what was found."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_api.models.base import Base


class DryRunRow(Base):
    """A dry run. The process that works on it writes what it has found, and that it lives."""

    __tablename__ = "dry_run"
    __table_args__ = (Index("ix_dry_run_state", "state"), Index("ix_dry_run_created_at", "created_at"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True)  # a UUIDv7
    configuration: Mapped[str] = mapped_column(String(150))
    draft: Mapped[dict[str, Any] | None]  # in its stored form; None: the stored configuration is asked about
    since: Mapped[datetime]
    until: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(20))  # running, done, cancelled, failed
    error: Mapped[str | None] = mapped_column(Text)  # why it failed
    report: Mapped[dict[str, Any]]  # `control_api.dry_run.report`, without samples
    samples: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    alive_at: Mapped[datetime]  # when its process wrote last
    ended_at: Mapped[datetime | None]
