"""Policy: what people say of a consumer's deliveries that it does not take at once."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Unknown: TypeAlias = Literal["again", "give_up"]  # what follows where nobody knows whether a delivery arrived


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How often and for how long deliveries of one consumer are tried, and who gets them then."""

    schedule_s: tuple[float, ...] | None = None  # from each failed try to the next; none: that of the settings
    ttl_s: float | None = None  # age at which a delivery expires; none: it does not
    unknown: Unknown | None = None  # none: as the plugin says
    fallback: str | None = None  # consumer that gets what this one does not take


USUAL = Policy()
