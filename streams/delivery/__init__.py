"""Delivery: hands deliveries to consumers, in lanes, and records each attempt."""
