"""JSON Pointer (RFC 6901): how errors name a place in a document, such as `/parameters/write/0`."""

from collections.abc import Iterable


def pointer(parts: Iterable[object], below: str = "") -> str:
    """The pointer to a place below another one: `pointer(["labels", "a/b"])` is `/labels/a~1b`."""
    return below + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def pointer_parts(text: str) -> list[str]:
    """The parts of a pointer, unescaped; the opposite of `pointer`. The empty pointer, the whole document, has none."""
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]
