"""Definition: a definition as it lies on the topic `definitions`. What its `spec` holds is `notifier.definition.specs`'s."""

from notifier.bounds import Large
from notifier.outcome import Kind
from notifier.record import JsonObject, Record


class Definition(Record, frozen=True, kw_only=True):
    """A definition as it lies on `definitions`, keyed `<kind>/<name>`. Secrets in `spec` are sealed. Deleted: a tombstone.

    `revision` is the number of the change that wrote it: one database transaction, one revision, one Kafka transaction.
    """

    kind: Kind
    name: str
    revision: Large
    spec: JsonObject


def definition_key(kind: Kind, name: str) -> str:
    """The key on `definitions`: `<kind>/<name>`."""
    return f"{kind}/{name}"
