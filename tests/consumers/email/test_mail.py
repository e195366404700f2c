"""Mails of any text: nothing in it becomes a header, a part or markup, and all of it is there to read."""

from email import policy
from email.parser import BytesParser
from html.parser import HTMLParser
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.email.address import mailbox, named_mailbox
from consumers.email.mail import mail_of
from notifier import Marked, Rendered, Span
from notifier.marked import Style
from notifier.one_line import one_line
from notifier.plain_text import is_blank, plain_text
from tests.rigs.plugin_world import make_delivery

# What headers, MIME and HTML are made of, and what Python's own header parser stumbled over.
ODD = st.sampled_from(
    [
        *"\r\n\t\0\x1b[m<>&\"'=?:;,@.- ",
        "=?utf-8?q?x?=",
        "\r\nBcc: eve@example.org",
        "</pre>",
        "é",
        "한",
        "\ud800",
        "\u202e",
    ]
)
TEXT = st.lists(ODD | st.characters(exclude_categories=()), max_size=60).map("".join)


@st.composite
def marked(draw: st.DrawFn) -> Marked:
    text = draw(TEXT)
    spans, at = [], 0
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(at, len(text)))
        at = draw(st.integers(start, len(text)))
        style = draw(st.sampled_from(get_args(Style)))
        value = draw(TEXT | st.just("https://example.org/?a&b=\"<'")) if style == "link" else ""
        spans.append(Span(start=start, end=at, style=style, value=value))
        if at - start > 1:
            spans.append(Span(start=start, end=at - 1, style="italic"))
    return Marked(text, tuple(sorted(spans, key=lambda span: span.start)))


class Reader(HTMLParser):
    """The text of a page and the names of its elements and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.names: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names |= {tag, *(name for name, _ in attributes)}
        if tag == "br":
            self.text += "\n"
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@given(subject=TEXT, body=marked())
def test_a_mail_says_what_it_was_given_and_nothing_else(subject: str, body: Marked) -> None:
    try:
        raw = mail_of(
            make_delivery(), Rendered(subject=subject, body=body), ("Ü, x", "a@b.example"), "c@d.example", "k\r\nX: y"
        )
    except ValueError:
        assert is_blank(plain_text(body.plain()))
        return
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    mail = BytesParser(policy=policy.default).parsebytes(raw)
    assert sorted(mail.keys()) == sorted(
        [
            "Content-Type",
            "MIME-Version",
            "Subject",
            "From",
            "To",
            "Date",
            "Message-ID",
            "In-Reply-To",
            "References",
            "Auto-Submitted",
            "X-Auto-Response-Suppress",
        ]
    )
    assert mail["To"] == "c@d.example"
    if one_line(subject):
        assert mail["Subject"] == one_line(subject, 200)
    assert len(list(mail.iter_parts())) == 2
    plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert page is not None
    assert plain.get_content().replace("\r\n", "\n") == plain_text(body.plain()) + "\n"
    reader = Reader()
    reader.feed(page.get_content().replace("\r\n", "\n"))
    reader.close()
    assert reader.open == []
    if plain_text(body.text) == body.text:
        assert reader.text.strip("\n") == body.text.strip("\n")
    assert reader.names <= {
        "html",
        "head",
        "body",
        "meta",
        "charset",
        "div",
        "style",
        "br",
        "b",
        "i",
        "code",
        "pre",
        "a",
        "href",
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a@b.example", ("", "a@b.example")),
        ("Notifier <a@b.example>", ("Notifier", "a@b.example")),
        ('"Team, the" <a@b.example>', ("Team, the", "a@b.example")),
        ("a@b.example, c@d.example", None),
        ("Notifier <a@b.example>\nX: y", None),
        ("<>", None),
        ("Notifier", None),
    ],
)
def test_a_sender_is_an_address_perhaps_with_a_name(text: str, found: tuple[str, str] | None) -> None:
    assert named_mailbox(text) == found


@given(TEXT)
def test_an_address_is_of_one_line_without_blanks(text: str) -> None:
    found = mailbox(text)
    assert found is None or (found.isascii() and found.isprintable() and " " not in found and found.count("@") == 1)
