"""Telegram: the consumer and its bot."""

from consumers.telegram.telegram import Telegram

__all__ = ["Telegram"]
