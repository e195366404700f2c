"""Inputs: what a mutation is given, without the classes of GraphQL around it."""

from typing import Any


def plain(value: Any) -> Any:
    """The input as plain dicts and lists, with only the fields that were given."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value
