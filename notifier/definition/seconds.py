"""Seconds: how long deliveries may wait and live, as people write it."""

from typing import Annotated, TypeAlias

from pydantic import Field

from notifier.settings import MAX_WAIT_S

MAX_STEPS = 100  # of a schedule
MAX_LIFETIME_S = 366 * 24 * 3600  # of what expires

Wait: TypeAlias = Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)]
Waits: TypeAlias = Annotated[tuple[Wait, ...], Field(max_length=MAX_STEPS)]
Lifetime: TypeAlias = Annotated[float, Field(gt=0, le=MAX_LIFETIME_S, allow_inf_nan=False)]
