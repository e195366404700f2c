"""Kafka: the consumer that writes messages to topics of others."""

from consumers.kafka.kafka import Kafka

__all__ = ["Kafka"]
