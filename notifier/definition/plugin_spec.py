"""PluginSpec: what people write of a filter, and the base of what they write of producers and consumers."""

from typing import Annotated

from pydantic import Field, StringConstraints

from notifier.definition.definition_spec import DefinitionSpec
from notifier.definition.names import Title
from notifier.definition.spec import AnyObject


class PluginSpec(DefinitionSpec):
    """A producer, filter or consumer: a plugin type with its parameters."""

    title: Title | None = Field(None, description="What people call it.")
    type: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="Name of the plugin type."
    )
    parameters: AnyObject = Field(default_factory=dict, description="The parameters of that type; see `plugins`.")
