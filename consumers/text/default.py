"""Default text: what a delivery says where no template says it."""

import re  # for our own constant patterns
from collections.abc import Iterator, Mapping

from consumers.text.words import WORDS, Words
from notifier.delivery import Delivery
from notifier.language import USUAL_LANGUAGE, Language
from notifier.marked import Marked, styled
from notifier.message import Message
from notifier.one_line import one_line
from notifier.plain_text import is_blank, plain_text
from notifier.web_address import is_web_address

MAX_LABELS = 20
MAX_LABEL = 200  # characters of a label's name, and of its value
# What a title or a link stands between where a text has it as a whole. Punctuation ends it only where nothing follows.
_EDGES = "()[]{}<>\"'`«»„“”‚‘’「」『』【】（）《》。，、；：！？"
_AFTER = re.compile(rf"[.,;:!?…]*(?:$|[\s{re.escape(_EDGES)}])")


def default_text(
    delivery: Delivery, message: Message, language: Language = USUAL_LANGUAGE, *, labels: bool = True
) -> Marked:
    """`From {sender} to {receiver}: {content}`, with the names of the consumer's world, in the words of the reader's language.

    An unknown sender or receiver is left out: `From {sender}: …`, `To {receiver}: …`, or the content alone. A title stands
    above the content, bold, and a web link below it, each on a line of its own, unless the content has it already, as a whole:
    between blanks, line ends, brackets or quotation marks. Below these stand the severity and, where they are asked for, the
    labels, a line for each.
    """
    words = WORDS[language]
    content = plain_text(message.content)
    title, url = plain_text(message.title or ""), plain_text(message.url or "")
    lines = [] if is_blank(content) else [Marked(content)]
    if not _has(content, title):
        lines.insert(0, styled(title, "bold"))
    if not _has(content, url):
        lines.append(styled(url, "link", url) if is_web_address(url) else Marked(url))
    lines += map(Marked, _fields(message, words, message.labels if labels else {}))
    text = Marked(_head(delivery, words))
    for number, line in enumerate(lines):
        text += "\n" + line if number else line
    return text


def _head(delivery: Delivery, words: Words) -> str:
    sender = plain_text(delivery.sender or "")
    receiver = plain_text(delivery.receiver or delivery.recipient or "")
    if is_blank(sender):
        return "" if is_blank(receiver) else words.to.format(receiver)
    return words.from_.format(sender) if is_blank(receiver) else words.from_to.format(sender, receiver)


def _fields(message: Message, words: Words, given: Mapping[str, str]) -> Iterator[str]:
    if message.severity is not None:
        yield f"{words.severity}: {words.severities[message.severity]}"
    labels = {name: value for name, value in given.items() if not is_blank(plain_text(value))}
    if labels.get("severity") == message.severity:
        labels.pop("severity", None)  # as Alertmanager gives it, twice
    for name in list(labels)[:MAX_LABELS]:
        yield f"{_line(name)}: {_line(labels[name])}"
    if len(labels) > MAX_LABELS:
        yield words.more.format(len(labels) - MAX_LABELS)


def _line(text: str) -> str:
    return one_line(plain_text(text), MAX_LABEL)


def _has(content: str, text: str) -> bool:
    """Whether the content has a text as a whole, not only within a longer word or link. It always has a blank one."""
    text = text.strip()
    if is_blank(text):
        return True
    at = content.find(text)  # a regular expression would read a long text again from each place that begins like it
    while at >= 0:
        end = at + len(text)
        begins = at == 0 or content[at - 1].isspace() or content[at - 1] in _EDGES
        if begins and _AFTER.match(content, end):
            return True
        at = content.find(text, end)
    return False
