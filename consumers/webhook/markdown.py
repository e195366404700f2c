"""Markdown: a marked text for services that read Markdown, in which nothing of the text itself is read as markup.

Services differ in what they take a backslash in front of, so each says which characters that are.
"""

import re  # for our own constant patterns

from consumers.webhook.runs import ADDRESS, Run, runs_of
from notifier import Marked

_GAP = "\u200b"  # between marks that would run together: shows nothing
_AT = re.compile(r"@(?=\w)")
_INDENT = re.compile(r"^(?:\t| {4})[ \t]*", re.MULTILINE)
_FENCE = re.compile("`{3,}")
_TICKS = re.compile("`+")
_MARKS = re.compile(r"[()\s<>\\]")  # a backslash would take its sense from the bracket behind it


class Markdown:
    """One service's Markdown. `special`: the characters that get a backslash; `indents`: indented lines are code to it."""

    def __init__(self, special: str, *, indents: bool = False) -> None:
        self._indents = indents
        self._special = re.compile(f"[{re.escape(special)}]")

    def write(self, text: Marked) -> str:
        """The text as the service reads it."""
        written: list[str] = []
        marked = False  # whether what came before ends with a mark
        for run in runs_of(text):
            if run.pre:
                written.append(_fenced(run.text))
                marked = False
            elif run.bold or run.italic or run.code or run.link:
                for number, line in enumerate(run.text.split("\n")):
                    written.append("\n" if number else "")
                    inner = line.strip()
                    if not inner:
                        written.append(line)
                        marked = False
                        continue
                    before, _, after = line.partition(inner)
                    gap = _GAP if marked and not number and not before else ""
                    written += (gap, before, self._marked(run, inner), after)
                    marked = not after
            else:  # many lines at once: most of a text is not marked
                written.append(self._plain(run.text))
                marked = False
        return "".join(written)

    def _marked(self, run: Run, inner: str) -> str:
        words = _ticked(inner) if run.code else self._plain(inner)
        if run.link and run.link != inner:
            words = f"[{words}]({_MARKS.sub(lambda found: ''.join(f'%{byte:02X}' for byte in found[0].encode()), run.link)})"
        if run.italic:
            words = f"*{words}*"
        return f"**{words}**" if run.bold else words

    def _plain(self, text: str) -> str:
        """A text that is read as it is. Addresses stay as they are, and are links; nobody is called by an @."""
        if self._indents:
            text = _INDENT.sub(_visibly, text)
        written: list[str] = []
        at = 0
        for found in ADDRESS.finditer(text):
            written += (self._escaped(text[at : found.start()]), found[0])
            at = found.end()
        return "".join((*written, self._escaped(text[at:])))

    def _escaped(self, text: str) -> str:
        return _AT.sub(f"@{_GAP}", self._special.sub(lambda found: "\\" + found[0], text))


def _visibly(indent: re.Match[str]) -> str:
    return indent[0].replace("\t", "    ").replace(" ", "\u00a0")


def _ticked(text: str) -> str:
    """A code within a line, between more backticks than there are in it."""
    longest = max((len(found) for found in _TICKS.findall(text)), default=0)
    ticks = "`" * (longest + 1)
    blank = " " if longest else ""
    return f"{ticks}{blank}{text}{blank}{ticks}"


def _fenced(block: str) -> str:
    text = block.strip("\n")
    longest = max((len(found) for found in _FENCE.findall(text)), default=2)
    ticks = "`" * (longest + 1)
    return f"{ticks}\n{text}\n{ticks}"
