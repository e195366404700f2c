"""Wording: the texts that people give a consumer, for the deliveries of configurations that have none of their own."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """Jinja templates; none: the default text."""

    subject: str | None = None
    template: str | None = None


NO_WORDING = Wording()
