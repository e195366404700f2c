"""Places: where a definition was written, for errors - `definitions.yaml:12` of files, a JSON Pointer of JSON."""


def is_pointer(place: str) -> bool:
    """Whether the place is a JSON Pointer. The path of a file is relative to the folder, so none begins with a slash."""
    return place.startswith("/")


def located(place: str, kind: str, name: str, pointer: str) -> str:
    """A field of a definition at that place; without a place, which single documents do not need, the bare pointer."""
    if not place or is_pointer(place):
        return place + pointer
    return f"{place} {kind} {name} {pointer}".rstrip()
