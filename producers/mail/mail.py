"""Mail: a producer whose messages are mails. Taking them in is `control_api.mail`'s; reading them `producers.mail.reading`'s."""

import asyncio

from pydantic import Field

from notifier import Context, Hook, JsonObject, Producer, Received, WorldParameters
from notifier.errors import FieldError, InputError
from notifier.grapheme import shortened
from notifier.record import rfc3339
from producers.mail.reading import Mail as Read
from producers.mail.reading import read_mail

_MAX_NAME = 512  # characters of a name or id
_MAX_TITLE = 1000


class MailParameters(WorldParameters):
    """Parameters of a mail producer."""

    receiver: str | None = Field(
        None,
        min_length=1,
        max_length=_MAX_NAME,
        description="Name of the person that all mails are for; absent: everyone in the configuration.",
    )


class Mail(Producer[MailParameters]):
    """Mails become messages, for devices that can only mail: send them to `NAME+TOKEN@anything` at the SMTP door.

    The subject is the title, the text the content, and the address in `From` the sender, a name in the world `email`.
    Attachments are named below the text. It is never asked for messages, so a run passes it over.
    """

    type = "mail"
    Parameters = MailParameters
    world = "email"
    pull = False
    doors = ("mail",)

    async def received(self, hook: Hook, context: Context) -> Received:
        """The message that a mail is. The payload is the mail as it came, in bytes or as a text."""
        data = hook.payload
        if isinstance(data, str):
            data = data.encode(errors="replace")
        if not isinstance(data, bytes) or not data.strip():
            raise InputError(FieldError("", "must be a mail as it was sent, with its headers"))
        return Received(messages=(message_of(await asyncio.to_thread(read_mail, data), self.parameters.receiver),))


def message_of(mail: Read, receiver: str | None) -> JsonObject:
    """The message of a mail: labels `from` and `from_name`."""
    given = {
        "content": mail.text or mail.title or "(an empty mail)",
        "title": mail.title and shortened(mail.title, _MAX_TITLE),
        "sender": mail.sender and shortened(mail.sender, _MAX_NAME),
        "receiver": receiver,
        "severity": mail.severity,
        "occurred_at": mail.at and rfc3339(mail.at),
        "id": mail.id if mail.id is not None and len(mail.id) <= _MAX_NAME else None,
    }
    labels = {"from": mail.sender, "from_name": mail.called}
    made: JsonObject = {name: value for name, value in given.items() if value}
    return made | {"labels": {name: shortened(value, _MAX_NAME) for name, value in labels.items() if value}}
