"""Where messages come from: one file per producer type."""

from typing import Any

from notifier import Producer
from producers.answers import Answers
from producers.github import GitHub
from producers.kafka import Kafka
from producers.mail import Mail
from producers.prometheus import Prometheus
from producers.push import Push
from producers.redash import Redash
from producers.script import Script
from producers.sql import Sql

BUILT_IN: tuple[type[Producer[Any]], ...] = (Push, Script, GitHub, Prometheus, Sql, Redash, Kafka, Mail, Answers)
