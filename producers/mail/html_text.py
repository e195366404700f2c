"""HTML text: what a reader sees of a mail in HTML. Plain scanning, since the time of a parser may grow with the square."""

import html
import re  # for our own constant pattern

_NAME = re.compile(r"/?[a-zA-Z][a-zA-Z0-9]*")
_HIDDEN = frozenset({"head", "script", "style", "title", "template"})
_BLOCKS = frozenset(
    [
        "br",
        "p",
        "div",
        "tr",
        "li",
        "ul",
        "ol",
        "table",
        "hr",
        "pre",
        "blockquote",
        "section",
        "article",
        "header",
        "footer",
    ]
    + [f"h{level}" for level in range(1, 7)]
)
_SPACE = re.compile(r"[ \t\r\n\f\xa0]+")


def html_text(source: str) -> str:
    """The text between the tags: a line for each block, runs of white space as one blank, at most one empty line in a row."""
    parts: list[str] = []
    lower = source.lower() if source.isascii() else re.sub("[A-Z]", lambda found: found[0].lower(), source)
    at = 0
    while (start := source.find("<", at)) >= 0:
        parts.append(_SPACE.sub(" ", source[at:start]))
        if source.startswith("<!--", start):
            end = source.find("-->", start + 4)
            at = len(source) if end < 0 else end + 3
            continue
        named = _NAME.match(source, start + 1)
        if named is None and source[start + 1 : start + 2] not in ("!", "?"):
            parts.append("<")
            at = start + 1
            continue
        end = source.find(">", start)
        if end < 0:
            at = len(source)
            break
        at = end + 1
        name = named[0].lower() if named else ""
        if name in _HIDDEN:
            end = lower.find(f"</{name}", at)
            at = len(source) if end < 0 else end
        elif name.removeprefix("/") in _BLOCKS:
            parts.append("\n")
        elif name in ("td", "th"):
            parts.append(" ")
    parts.append(_SPACE.sub(" ", source[at:]))
    lines = [line.strip(" \xa0") for line in html.unescape("".join(parts)).split("\n")]
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept).strip()
