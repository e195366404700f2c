"""Kafka: where the broker is, clients made from the settings, and the topics they need."""

from notifier.kafka.clients import (
    bootstrap_servers,
    broker_file,
    client_options,
    ensure_topics,
    kafka_admin,
    kafka_consumer,
    kafka_producer,
    running_broker,
)

__all__ = [
    "bootstrap_servers",
    "broker_file",
    "client_options",
    "ensure_topics",
    "kafka_admin",
    "kafka_consumer",
    "kafka_producer",
    "running_broker",
]
