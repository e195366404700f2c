"""Limits: how large a request may be, by its address, and how many values a JSON body may hold."""

MAX_BODY_BYTES = 1024 * 1024
MAX_MESSAGES_BYTES = 16 * 1024 * 1024
MAX_HOOK_BYTES = 16 * 1024 * 1024  # a group of alerts may be 5 MB
MAX_DEFINITIONS_BYTES = 16 * 1024 * 1024  # of a bulk
MAX_SIGN_IN_BYTES = 8 * 1024  # which anybody may send
MAX_VALUES = 200_000  # of one JSON value that is read as a whole; each is an object in memory, many times its bytes
_LIMITS = {  # by the beginning of the address
    "/api/v1/messages": MAX_MESSAGES_BYTES,
    "/api/v1/definitions": MAX_DEFINITIONS_BYTES,
    "/console/login": MAX_SIGN_IN_BYTES,
    "/console/logout": MAX_SIGN_IN_BYTES,
    "/hooks/": MAX_HOOK_BYTES,
}


def body_limit(path: str) -> int:
    """How many bytes a request to that address may bring, as they come and unpacked."""
    for start, limit in _LIMITS.items():
        if path.startswith(start):
            return limit
    return MAX_BODY_BYTES
