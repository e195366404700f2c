"""How a message reaches a person: one file per consumer type."""

from typing import Any

from consumers.apprise import Apprise
from consumers.email import Email
from consumers.kafka import Kafka
from consumers.max import Max
from consumers.script import Script
from consumers.telegram import Telegram
from consumers.vk import Vk
from consumers.webhook import Discord, GoogleChat, Mattermost, Slack, Teams, Webhook
from notifier.plugin import Consumer

BUILT_IN: tuple[type[Consumer[Any]], ...] = (
    Script,
    Telegram,
    Vk,
    Max,
    Email,
    Webhook,
    Slack,
    Mattermost,
    Discord,
    Teams,
    GoogleChat,
    Kafka,
    Apprise,
)
