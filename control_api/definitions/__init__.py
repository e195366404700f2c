"""Definitions: what people change, checked, stored and published."""
