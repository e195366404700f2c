"""ProducerSpec: what people write of a producer: its plugin, and how often something is expected of it."""

from pydantic import Field

from notifier.definition.period import Period, seconds_of
from notifier.definition.plugin_spec import PluginSpec


class ProducerSpec(PluginSpec):
    """A producer: a plugin type with its parameters, and how often something is expected of it."""

    expect_every: Period | None = Field(
        None,
        description="How often something is expected of it, in seconds or as `15m`; where nothing comes for so long, a message"
        " says so, and another when it is back; absent: nothing is expected.",
        examples=["15m", "1h30m", 900],
    )

    def expected_s(self) -> float | None:
        """The seconds within which something is expected; None: nothing is."""
        return None if self.expect_every is None else seconds_of(self.expect_every)
