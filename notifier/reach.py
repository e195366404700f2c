"""Reach: how a consumer calls a person, and the words for why it reaches nobody. What routes and what explains say the same."""

from typing import Any

from notifier.plugin import Consumer
from notifier.user import User


def called(consumer: Consumer[Any], user: User) -> str:
    """What a consumer calls a user. Who has no name in its world is called by the one that is known: the address matters."""
    return consumer.name_of(user) or user.username


def lacks_address(username: str, consumer: str, world: str) -> str:
    """Why a consumer does not reach a user."""
    return f"{username} has no address for the consumer {consumer} (world {world!r})"


def lacks_people(consumer: str) -> str:
    """Why a consumer reaches nobody in a configuration without users."""
    return f"the consumer {consumer} writes to people, and the configuration has no users"


def lacks_consumer(consumer: str) -> str:
    """Why nobody is reached by a consumer."""
    return f"the consumer {consumer} cannot be used; its definition is missing or wrong"
