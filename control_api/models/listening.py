"""The table of codes that link users to chats."""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_api.models.base import Base


class LinkCodeRow(Base):
    """A code that was not used yet. Only its digest is kept."""

    __tablename__ = "link_code"
    __table_args__ = (Index("ix_link_code_expires_at", "expires_at"),)

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 in hexadecimal
    username: Mapped[str] = mapped_column(String(150))
    created_by: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[datetime]
