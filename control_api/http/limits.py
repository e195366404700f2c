"""Limits: how large a request may be, by its address."""

MAX_BODY_BYTES = 1024 * 1024
MAX_MESSAGES_BYTES = 16 * 1024 * 1024
_LARGE = ("/api/v1/messages", "/hooks/")  # addresses that take messages


def body_limit(path: str) -> int:
    """How many bytes a request to that address may bring, as they come and unpacked."""
    return MAX_MESSAGES_BYTES if path.startswith(_LARGE) else MAX_BODY_BYTES
