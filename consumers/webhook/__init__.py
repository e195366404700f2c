"""Webhook: messages as requests to an address, signed, and the ready forms of it that chats take."""

from consumers.webhook.webhook import Webhook

__all__ = ["Webhook"]
