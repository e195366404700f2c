"""Occasion: when a request was made first, and the ids that come of it."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import uuid6


@dataclass(frozen=True)
class Occasion:
    """The moment of a request; with a `seed`, of the first among requests that repeat each other."""

    at: datetime
    seed: str | None = None  # the caller and the Idempotency-Key; none: no key was given, so ids may be random

    def id_of(self, position: int) -> str:
        """The id of the message at that place in the request, a UUIDv7 (RFC 9562); with a seed, the same each time."""
        if self.seed is None:
            return str(uuid6.uuid7())
        random = hashlib.sha256(f"{self.seed}/{position}".encode()).digest()[:10]
        number = int(self.at.timestamp() * 1000) << 80 | int.from_bytes(random)
        number = number & ~(0xF << 76) | 0x7 << 76
        number = number & ~(0x3 << 62) | 0x2 << 62
        return str(uuid6.UUID(int=number))
