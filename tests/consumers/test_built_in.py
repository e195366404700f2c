"""The built-in consumers."""

from consumers import BUILT_IN
from notifier.registry import Registry


def test_every_built_in_consumer_has_a_type_of_its_own_and_describes_itself() -> None:
    registry = Registry(BUILT_IN)
    assert "script" in registry.types("consumer")
    for plugin in BUILT_IN:
        assert plugin.describe()
        assert all(field.description for field in plugin.Parameters.model_fields.values())
