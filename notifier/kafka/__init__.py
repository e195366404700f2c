"""Kafka: where the broker is, clients made from the settings, and the topics they need."""

from notifier.kafka.address import bootstrap_servers, broker_file, own_servers, running_broker
from notifier.kafka.clients import client_options, end_kafka_producer, kafka_admin, kafka_consumer, kafka_producer
from notifier.kafka.topics import ensure_topics, grow_topics

__all__ = [
    "bootstrap_servers",
    "broker_file",
    "client_options",
    "end_kafka_producer",
    "ensure_topics",
    "grow_topics",
    "kafka_admin",
    "kafka_consumer",
    "kafka_producer",
    "own_servers",
    "running_broker",
]
