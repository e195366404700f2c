"""Ready: mappings for services that many use, by name. Each is a pure function, total over whatever JSON comes."""

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from producers.payload_mapping.ready.cloudevents import cloudevents
from producers.payload_mapping.ready.part import Part, Parts

__all__ = ["READY", "Part", "Parts", "ReadyName"]

ReadyName: TypeAlias = Literal["cloudevents"]
READY: Mapping[ReadyName, Callable[[object, Mapping[str, str]], Parts]] = {"cloudevents": cloudevents}
