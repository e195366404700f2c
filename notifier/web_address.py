"""Web address: what a link of a text may lead to."""

import re  # for our own constant patterns

MAX_ADDRESS = 2048  # characters, as browsers take them at least
_ADDRESS = re.compile(
    r"(?:https?://|mailto:)[^\s\0-\x20\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff<>\"]+", re.IGNORECASE
)


def is_web_address(text: str) -> bool:
    """Whether the text is the address of a page or of a mailbox, as far as its form goes: no script, no link into an app."""
    return len(text) <= MAX_ADDRESS and _ADDRESS.fullmatch(text) is not None
