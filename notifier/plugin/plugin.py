"""Plugin: what producers, filters and consumers have in common.

A plugin is a class with a `type` (the word in definitions), a `Parameters` model and one method that does the work:
`produce`, `accepts` or `deliver`. Instances are made by the registry from checked parameters, live as long as the
definition stays as it is, and are shared by concurrent calls. Secrets are `SecretStr` fields: they are sealed before they
are stored or published and opened only where the plugin runs.
"""

from inspect import getdoc
from typing import ClassVar, Generic, Literal, TypeVar

from notifier.plugin.parameters import Parameters, ParametersModel, secrets_in

PluginKind = Literal["producer", "filter", "consumer"]
P = TypeVar("P", bound=Parameters)


class Plugin(Generic[P]):
    """The base of producers, filters and consumers. Derive from those, not from this."""

    kind: ClassVar[PluginKind]
    type: ClassVar[str]  # the word in definitions
    Parameters: ClassVar[ParametersModel]

    def __init__(self, parameters: P) -> None:
        self.parameters = parameters

    @classmethod
    def describe(cls) -> str:
        """What the type does: the first paragraph of its docstring."""
        return (getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")

    def mask(self, text: str) -> str:
        """The text with every secret of the parameters replaced by `***`: for all that a plugin logs, answers or raises."""
        for secret in sorted(secrets_in(self.parameters.__dict__.values()), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    async def close(self) -> None:
        """Called once when the definition changes or the process stops: give back connections and the like."""
