"""Kafka: the producer that makes messages of the records of a topic of others."""

from producers.kafka.kafka import Kafka

__all__ = ["Kafka"]
