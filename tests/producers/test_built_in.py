"""The built-in producers."""

import pytest

from notifier.registry import Registry
from producers import BUILT_IN


@pytest.mark.predecessor("S-55")
def test_the_built_in_types_can_be_registered_and_are_described() -> None:
    registry = Registry(BUILT_IN)
    names = ["answers", "github", "kafka", "mail", "prometheus", "push", "redash", "script", "sql"]
    assert registry.types("producer") == names
    assert all(plugin.describe() for plugin in registry)
