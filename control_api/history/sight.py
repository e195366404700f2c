"""Sight: what of the history somebody sees, as conditions of queries. `control_api.access.teams` says it of an actor."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What rows must fulfil to be seen; nothing for who sees all."""

    attempts: Sequence[ColumnElement[bool]] = ()
    messages: Sequence[ColumnElement[bool]] = ()
