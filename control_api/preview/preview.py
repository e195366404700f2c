"""Preview: what texts a configuration makes of a message, as REST, GraphQL and the command line give it."""

import msgspec

from notifier.record import JsonObject


class PreviewedText(msgspec.Struct, kw_only=True):
    """What one consumer sends to one recipient, or why it sends nothing."""

    recipient: str | None  # username; none: everyone
    recipients: list[str]  # usernames of those whom a text for everyone is for, as far as they are known
    consumer: str
    subject: str | None = None  # none: there is no text; empty: the text has no subject
    text: str | None = None  # whole, the addresses of links in parentheses
    parts: list[str] = msgspec.field(default_factory=list)  # what goes to the service, in order
    templated: bool = False  # a template made the text; else it is the default text
    problem: str | None = None  # why there is no text, or not the one that a template should make


class Preview(msgspec.Struct, kw_only=True):
    """The texts of a configuration, by the definitions of now."""

    configuration: str
    version: int | None  # none: a draft that is not stored
    revision: int  # of the definitions
    problem: str | None = None  # of the message or the configuration as a whole
    texts: list[PreviewedText] = msgspec.field(default_factory=list)
    omitted: int = 0  # further texts, where they are many

    def document(self) -> JsonObject:
        """The same as JSON."""
        built: JsonObject = msgspec.to_builtins(self)
        return built
