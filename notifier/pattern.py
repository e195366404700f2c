"""Pattern: a regular expression that a person wrote, in RE2, which never backtracks.

RE2's time grows with the text and with the size of the compiled pattern: one search of `(?i)(a|b|ab|ba){1000}c` in 900 KB
took 38 s. So the compiled size is limited, and a larger pattern sees less of a long text, which bounds a search to about a
second. A pattern of up to 100 instructions, nearly every one that people write, sees messages of any size whole.
"""

import re2

MAX_CHARACTERS = 1000  # of a pattern
MAX_INSTRUCTIONS = 5000  # of the compiled pattern; one \pL is 2,400 of them
_BUDGET = 100_000_000  # instructions × bytes of one search; measured below a second
_COSTLY = "is too costly to search for; repeat less, or repeat smaller parts"
_MAX_MEMORY = 8 << 20  # bytes; RE2's own default


class Pattern:
    """A compiled regular expression. Raises ValueError, in words for its author, when it is invalid or too costly."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"is longer than {MAX_CHARACTERS} characters; shorten it or use several filters")
        options = re2.Options()
        options.log_errors = False  # RE2 would write to standard error
        options.max_mem = _MAX_MEMORY
        try:
            compiled = re2.compile(text, options)
            instructions: int = max(compiled.programsize, compiled.reverseprogramsize)
        except re2.error as error:
            problem = _plain(error)
            # RE2 has one error class, so only its text tells a valid pattern that is too large from an invalid one.
            problem = _COSTLY if "too large" in problem else f"is not a regular expression in RE2 syntax: {problem}"
            raise ValueError(problem) from None
        except UnicodeEncodeError:
            raise ValueError("is not text that can be written as UTF-8") from None
        if instructions > MAX_INSTRUCTIONS:
            raise ValueError(_COSTLY)
        self.text = text
        self.reach = _BUDGET // max(instructions, 1)  # bytes of UTF-8 that are searched
        self._compiled = compiled

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def occurs_in(self, text: str) -> bool:
        """Whether it matches somewhere within the first `reach` bytes of the text."""
        # Bytes, because for a str the binding also counts the characters before the match, which is not needed here.
        return self._compiled.search(text.encode()[: self.reach]) is not None

    def is_all_of(self, text: str) -> bool:
        """Whether it matches the whole text; never a text longer than `reach`."""
        data = text.encode()
        return len(data) <= self.reach and self._compiled.fullmatch(data) is not None


def _plain(error: re2.error) -> str:
    text = error.args[0] if error.args else "it cannot be compiled"
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
