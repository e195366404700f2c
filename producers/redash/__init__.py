"""Redash: the producer that asks for the result of a query there."""

from producers.redash.redash import Redash, RedashParameters

__all__ = ["Redash", "RedashParameters"]
