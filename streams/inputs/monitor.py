"""RecordMonitor: Faust's figures about a worker, counted in records and not in batches."""

from typing import Any

from faust.sensors.monitor import Monitor


class RecordMonitor(Monitor):
    """Faust's monitor. Here a Faust event is a batch; messages and events are counted as the records within."""

    def on_message_in(self, tp: Any, offset: int, message: Any) -> None:
        """A batch is handed over."""
        super().on_message_in(tp, offset, message)
        more = len(message.value) - 1
        self.messages_received_total += more
        self.messages_active += more
        self.messages_received_by_topic[tp.topic] += more

    def on_message_out(self, tp: Any, offset: int, message: Any) -> None:
        """A batch is finished."""
        super().on_message_out(tp, offset, message)
        self.messages_active -= len(message.value) - 1

    def on_stream_event_in(self, tp: Any, offset: int, stream: Any, event: Any) -> Any:
        """An agent takes a batch."""
        self.events_total += len(event.value) - 1
        return super().on_stream_event_in(tp, offset, stream, event)
