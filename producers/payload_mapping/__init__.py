"""Payload mapping: which part of what a service sends is which field of a message; ready mappings for those that many use."""

from producers.payload_mapping.mapping import Mapping, NamedMapping
from producers.payload_mapping.payload_mapping import Mapped, PayloadMapping

__all__ = ["Mapped", "Mapping", "NamedMapping", "PayloadMapping"]
