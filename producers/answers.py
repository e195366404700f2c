"""Answers: messages of what people press under other messages. Hearing it is delivery's (`streams.delivery.listening`)."""

from pydantic import Field

from notifier import JsonObject, Message, Producer, User, WorldParameters
from notifier.answer import Answer, Button

_DONE = {
    "acknowledge": "acknowledged",
    "mute_hour": "muted for an hour",
    "mute_day": "muted until tomorrow",
    "link": "opened",
}


class AnswersParameters(WorldParameters):
    """Parameters of an answers producer."""

    consumers: tuple[str, ...] = Field((), description="Only what is pressed in chats of these; none: of any.")
    configurations: tuple[str, ...] = Field(
        (), description="Only what is pressed under messages of these; none: of any."
    )
    buttons: tuple[Button, ...] = Field((), description="Only presses of these buttons; none: of any.")


class Answers(Producer[AnswersParameters]):
    """A message for each button that somebody presses under another message, to the sender of that one where it is a user.

    It is never asked for messages, so a run passes it over. The sender of its messages is who pressed, by username.
    """

    type = "answers"
    Parameters = AnswersParameters
    pull = False

    def answered(self, answer: Answer, message: Message, sender: User | None) -> JsonObject | None:
        """`alice acknowledged: Build 42 failed`, with the labels button, producer, configuration, consumer and message."""
        parameters = self.parameters
        wanted = (
            (parameters.consumers, answer.consumer),
            (parameters.configurations, answer.configuration),
            (parameters.buttons, answer.button),
        )
        if any(some and one not in some for some, one in wanted):
            return None
        who = answer.user or answer.called or "somebody"
        about = (message.title or message.content).strip().partition("\n")[0][:300]
        labels = {"button": answer.button, "producer": answer.producer, "configuration": answer.configuration}
        made: JsonObject = {
            "content": f"{who} {_DONE[answer.button]}: {about}",
            "sender": who,
            "labels": {**labels, "consumer": answer.consumer, "message": answer.message},
        }
        if sender is not None and (receiver := sender.name_in(self.world_of())) is not None:
            made["receiver"] = receiver
        if message.url is not None:
            made["url"] = message.url
        return made
