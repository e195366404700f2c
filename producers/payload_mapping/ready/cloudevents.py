"""CloudEvents (https://cloudevents.io), structured, binary or in batches."""

from collections.abc import Mapping

from producers.payload_mapping.ready.part import Part, Parts


def cloudevents(payload: object, headers: Mapping[str, str]) -> Parts:
    """One message an event."""
    yield Part(payload)
