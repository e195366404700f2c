"""Notifier: tells the right person, on the right channel, at the right time. What a plugin author needs is imported here."""

from notifier.delivery import Delivery
from notifier.errors import FieldError, InputError, InvalidRecord, Permanent, Retryable
from notifier.marked import Marked, Span
from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin import (
    ACCEPTED,
    Candidate,
    Consumer,
    ConsumerParameters,
    Context,
    Feed,
    Filter,
    FilterParameters,
    Hearing,
    Hook,
    HookParameters,
    Limit,
    Lookup,
    Moves,
    Parameters,
    Producer,
    ProxyParameters,
    Received,
    Result,
    WorldParameters,
    at_most,
)
from notifier.record import JsonObject
from notifier.rendered import Rendered
from notifier.user import User

__all__ = [
    "ACCEPTED",
    "Candidate",
    "Consumer",
    "ConsumerParameters",
    "Context",
    "Delivery",
    "Feed",
    "FieldError",
    "Filter",
    "FilterParameters",
    "Hearing",
    "Hook",
    "HookParameters",
    "InputError",
    "InvalidRecord",
    "JsonObject",
    "Limit",
    "Lookup",
    "Marked",
    "Message",
    "Moves",
    "Parameters",
    "Permanent",
    "Producer",
    "ProxyParameters",
    "Reason",
    "Received",
    "Rendered",
    "Result",
    "Retryable",
    "Span",
    "User",
    "WorldParameters",
    "at_most",
]
