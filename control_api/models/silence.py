"""The table of producers that are silent."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from control_api.models.base import Base, Number


class SilenceRow(Base):
    """A producer that is silent. The row goes once it is back."""

    __tablename__ = "silence"

    producer: Mapped[str] = mapped_column(String(63), primary_key=True)
    since: Mapped[datetime]  # about when the last message came, or the waiting began
    seen: Mapped[int] = mapped_column(Number)  # `message.id` of the newest one before it
    told: Mapped[bool]  # whether the message that says so is on the topic
