"""Intake: messages and ticks that enter by the API, written to Kafka."""
