"""Text files, as people's editors write them: what is read for `notifier apply`."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE


def decode(data: bytes) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark, without the mark. Raises UnicodeDecodeError.

    Windows writes both: Notepad the mark, PowerShell's `>` UTF-16.
    """
    return data.decode("utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
