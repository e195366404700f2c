"""One line: a text of others (an error, an answer, standard error) as it may stand in a log line or a record."""

from notifier.grapheme import shortened
from notifier.plain_text import plain_text


def one_line(text: object, limit: int = 500) -> str:
    """The text, plain, with each run of white space as one blank, at most `limit` characters; a cut is shown by `…`.

    It hides nothing: mask secrets before (`Plugin.mask`), while they are still whole. An error without a text is named by
    its type.
    """
    line = " ".join(plain_text(str(text)).split())
    if not line and isinstance(text, BaseException):
        line = type(text).__name__
    return shortened(line, limit)
