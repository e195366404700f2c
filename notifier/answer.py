"""Answer: what somebody pressed under a delivery."""

from typing import Literal, TypeAlias

from notifier.bounds import DeliveryId, Word
from notifier.record import Record, Time

Button: TypeAlias = Literal[
    "acknowledge",  # somebody has seen it and sees to it
    "mute_hour",  # nothing more of its configuration is to go to who pressed it, for an hour
    "mute_day",  # the same, until the next day begins
    "link",  # opens the message's address; no press of it is ever known
]


class Answer(Record, frozen=True, kw_only=True):
    """One press, on `answers`, keyed by `delivery`. A press that is read twice has the same `id`."""

    id: Word  # `<consumer>/<the service's own id of the press>`
    delivery: DeliveryId
    producer: Word
    message: Word  # the message's id
    configuration: Word
    consumer: Word
    button: Button
    at: Time  # when it was heard
    user: Word | None = None  # username of who pressed, where that is known
    called: Word | None = None  # what the service calls them; anybody in a group may press
    recipient: Word | None = None  # username of whom the delivery was for
    until: Time | None = None  # end of a mute
