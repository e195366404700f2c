"""Webhook: messages as requests to an address, signed, and the ready forms of it that chats take."""

from consumers.webhook.discord import Discord
from consumers.webhook.google_chat import GoogleChat
from consumers.webhook.mattermost import Mattermost
from consumers.webhook.slack import Slack
from consumers.webhook.teams import Teams
from consumers.webhook.webhook import Webhook

__all__ = ["Discord", "GoogleChat", "Mattermost", "Slack", "Teams", "Webhook"]
