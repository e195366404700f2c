"""Tick: "this configuration is due at this time". The same tick twice is one run."""

from notifier.outcome import Trigger
from notifier.record import Record, Time, always, rfc3339


class Tick(Record, frozen=True, kw_only=True):
    """Written on `ticks` by the ticker or for a person, keyed by configuration. Identity is (configuration, scheduled_at).

    `{"configuration": "reviews-to-chat", "scheduled_at": "2026-11-23T09:00:00Z", "trigger": "cron"}`
    """

    # Name of the configuration that is due. One that no configuration can have is unknown, however long it is.
    configuration: str
    scheduled_at: Time  # when it was due, not when it was noticed
    trigger: Trigger = always("cron")  # why it is due

    @property
    def id(self) -> str:
        """`<configuration>/<scheduled_at>`: the key of its run, and the start of the ids of the run's messages."""
        return f"{self.configuration}/{rfc3339(self.scheduled_at)}"
