"""Pattern: a regular expression that a person wrote, in RE2, which never backtracks.

RE2 needs time in proportion to the text, but also to what the pattern compiles to: 38 s were measured for one search of
`(?i)(a|b|ab|ba){1000}c` in 900 KB. So a pattern may not compile to too much, and the more it compiles to, the less of a
long text it sees: at worst a search then takes about a second. Patterns up to 100 instructions, which is nearly all that
people write, see a message of any size whole.
"""

import re2

MAX_CHARACTERS = 1000  # of a pattern
MAX_INSTRUCTIONS = 5000  # that a pattern may compile to; one \pL is 2,400 of them
_BUDGET = 100_000_000  # instructions × bytes; below a second where it was measured
_COSTLY = "is too costly to search for; repeat less, or repeat smaller parts"
_MAX_MEMORY = 8 << 20  # bytes; RE2's own default


class Pattern:
    """A compiled regular expression. Raises ValueError, in words for whoever wrote it, when it is none or too costly."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"is longer than {MAX_CHARACTERS} characters; shorten it or use several filters")
        options = re2.Options()
        options.log_errors = False  # else RE2 writes to standard error by itself
        options.max_mem = _MAX_MEMORY
        try:
            compiled = re2.compile(text, options)
            instructions: int = max(compiled.programsize, compiled.reverseprogramsize)
        except re2.error as error:
            problem = _plain(error)
            # RE2 has one class for all it refuses, so only the text tells a pattern that is right and too large.
            problem = _COSTLY if "too large" in problem else f"is not a regular expression in RE2 syntax: {problem}"
            raise ValueError(problem) from None
        except UnicodeEncodeError:
            raise ValueError("is not text that can be written as UTF-8") from None
        if instructions > MAX_INSTRUCTIONS:
            raise ValueError(_COSTLY)
        self.text = text
        self.reach = _BUDGET // max(instructions, 1)  # in bytes of UTF-8: how much of a text it sees
        self._compiled = compiled

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def occurs_in(self, text: str) -> bool:
        """Whether it matches somewhere within the first `reach` bytes of the text."""
        # Bytes, because for a str the binding also counts the characters up to the match, which nobody here asks for.
        return self._compiled.search(text.encode()[: self.reach]) is not None

    def is_all_of(self, text: str) -> bool:
        """Whether it matches the text from its first to its last character; a text longer than `reach` it does not."""
        data = text.encode()
        return len(data) <= self.reach and self._compiled.fullmatch(data) is not None


def _plain(error: re2.error) -> str:
    text = error.args[0] if error.args else "it cannot be compiled"
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
