"""Where messages come from: one file per producer type."""

from typing import Any

from notifier import Producer
from producers.answers import Answers
from producers.github import GitHub
from producers.kafka import Kafka
from producers.push import Push
from producers.redash import Redash
from producers.script import Script
from producers.sql import Sql

BUILT_IN: tuple[type[Producer[Any]], ...] = (Push, Script, GitHub, Kafka, Answers)
from producers.prometheus import Prometheus
BUILT_IN: tuple[type[Producer[Any]], ...] = (Push, Script, GitHub, Answers, Prometheus)
BUILT_IN: tuple[type[Producer[Any]], ...] = (Push, Script, GitHub, Answers, Sql)
BUILT_IN: tuple[type[Producer[Any]], ...] = (Push, Script, GitHub, Answers, Sql, Redash)
