"""MAX: the consumer and its bot."""

from consumers.max.max import Max

__all__ = ["Max"]
