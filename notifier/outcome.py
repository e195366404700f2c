"""The closed vocabularies of the pipeline: outcomes, reasons, severities, kinds of definitions and triggers.

Outcomes and reasons are labels of metrics, so no other word is allowed.
"""

from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal[
    "accepted",  # the service took it
    "deferred",  # a retryable failure: there will be another attempt
    "refused",  # a permanent failure: it becomes a dead letter
    "unknown",  # it may have arrived or not: a time-out after sending
    "held",  # waits for the receiver's working hours
    "suppressed",  # is not sent; `reason` says why
]

Reason: TypeAlias = Literal[
    # of attempts
    "ok",
    "rate_limited",
    "timeout",
    "connection",
    "server_error",
    "script_failed",
    "unauthorized",
    "forbidden",
    "not_found",
    "invalid_content",
    "unknown_receiver",
    "ambiguous_receiver",
    "no_address",
    "filtered",
    "duplicate",
    "expired",
    "outside_hours",
    "on_leave",
    "muted",  # by the recipient
    "paused",
    "disabled",
    "consumer_deleted",
    "cancelled",
    # of dead letters only
    "invalid",
    "unsupported_version",
    "unknown_producer",
    "unknown_configuration",
    "filter_unusable",
    "filter_failed",
    "too_large",
    "exhausted",
]

Severity: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]  # in ascending order
SEVERITIES: tuple[Severity, ...] = ("debug", "info", "warning", "error", "critical")

Kind: TypeAlias = Literal[
    "user", "group", "script", "template", "producer", "mapping", "filter", "consumer", "configuration"
]
# In dependency order: a kind refers only to kinds before it, and to its own.
KINDS: tuple[Kind, ...] = (
    "user",
    "group",
    "script",
    "template",
    "producer",
    "mapping",
    "filter",
    "consumer",
    "configuration",
)

Trigger: TypeAlias = Literal["cron", "manual", "backfill"]  # why a run happened
