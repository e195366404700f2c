"""The tables of tokens, accounts and sessions, and of the answers that an Idempotency-Key repeats."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_api.models.base import Base


class TokenRow(Base):
    """A bearer token. Only its hash is kept."""

    __tablename__ = "token"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # the public part of the token
    name: Mapped[str] = mapped_column(String(200))
    hash: Mapped[str] = mapped_column(String(64))  # SHA-256 in hexadecimal
    scopes: Mapped[list[str]]
    team: Mapped[str | None] = mapped_column(String(63))
    producer: Mapped[str | None] = mapped_column(
        String(63)
    )  # whose messages alone it hands over; None: those of every one
    created_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(String(200))
    expires_at: Mapped[datetime | None]  # None: never
    last_used_at: Mapped[datetime | None]  # to ten minutes
    revoked_at: Mapped[datetime | None]


class AccountRow(Base):
    """A person who signs in to the console."""

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(String(150), primary_key=True)
    password_hash: Mapped[str] = mapped_column(String(300))  # Argon2id
    role: Mapped[str] = mapped_column(String(20))  # viewer, editor, admin
    team: Mapped[str | None] = mapped_column(String(63))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class SessionRow(Base):
    """A browser in which an account is signed in. Only the hash of the cookie's value is kept."""

    __tablename__ = "account_session"
    __table_args__ = (
        Index("ix_account_session_account", "account"),
        Index("ix_account_session_created_at", "created_at"),
    )

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 in hexadecimal
    account: Mapped[str] = mapped_column(String(150), ForeignKey("account.name", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # to ten minutes


class IdempotencyRow(Base):
    """The answer to a POST with an Idempotency-Key, which a repeated request gets again."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("ix_idempotency_at", "at"),)

    actor: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))  # keyed SHA-256 of method, path and body
    status: Mapped[int | None]  # None: the request is still at work
    headers: Mapped[dict[str, Any] | None]  # Location, ETag, Content-Type
    body: Mapped[str | None] = mapped_column(Text)  # sealed for `place`
    at: Mapped[datetime]

    @staticmethod
    def place(actor: str, key: str) -> str:
        """What the body is sealed for."""
        return f"idempotency/{actor}/{key}"
