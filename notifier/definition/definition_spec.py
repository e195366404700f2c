"""DefinitionSpec: what people may write of a definition of any kind."""

from pydantic import Field

from notifier.definition.names import Name
from notifier.definition.spec import Spec


class DefinitionSpec(Spec):
    """The base of the kinds' models."""

    team: Name | None = Field(None, description="The team that may change it; absent: everybody may.")
