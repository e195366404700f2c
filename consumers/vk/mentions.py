"""Mentions: texts that address people of VK, made harmless, so that a message of others calls nobody."""

import re  # for our own constant patterns

# Shows nothing, and no mention begins with it.
_BREAK = "\u200b"

# `[id1|Alice]` and `[club1|us]`, also by a short name or an address.
_BRACKETS = re.compile(rf"\[(?!{_BREAK})(?=[^\[\]|\n]{{1,200}}\|)")
# `@all`, `@id1 (Alice)`, `*id1 (Alice)`; not the address of an e-mail or a product such as 2*x.
_SIGNS = re.compile(r"(?<!\w)[@*](?=\w)")
# `&#64;`, which VK's programs may take for `@`.
_ENTITIES = re.compile(r"&(?=#[0-9xX]|[A-Za-z][A-Za-z0-9]{0,31};)")


def neutralised(text: str) -> str:
    """The text with an invisible character within each mention; as it was where there is none, or it is neutral already."""
    for mention in (_ENTITIES, _BRACKETS, _SIGNS):
        text = mention.sub(rf"\g<0>{_BREAK}", text)
    return text
