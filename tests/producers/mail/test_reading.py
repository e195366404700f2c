"""What a mail says, whatever is odd about it: of devices, of old programs, of people who mean harm."""

import random
from email.message import EmailMessage
from typing import Any

import pytest

from notifier.message import MAX_BYTES, Message
from notifier.record import JsonObject
from producers.mail.html_text import html_text
from producers.mail.mail import message_of
from producers.mail.reading import CUT, MAX_TEXT, read_mail

HEAD = b"From: UPS <ups@example.org>\r\nMessage-ID: <1@ups>\r\n"


def read(data: bytes) -> JsonObject:
    """The message, which every reader takes."""
    made = message_of(read_mail(data), None)
    encoded = Message.from_object({"producer": "p", **made}).encode()
    assert len(encoded) <= MAX_BYTES
    assert "\0" not in encoded.decode()
    return made


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        pytest.param(
            HEAD + b"Subject: On battery\r\nDate: Mon, 23 Nov 2026 09:00:00 +0100\r\nX-Priority: 1\r\n\r\nLine lost.\r\n",
            {
                "title": "On battery", "content": "Line lost.", "sender": "ups@example.org", "id": "1@ups",
                "severity": "critical", "occurred_at": "2026-11-23T08:00:00Z",
                "labels": {"from": "ups@example.org", "from_name": "UPS"},
            },
            id="a device",
        ),
        pytest.param(b"Subject: only\r\n\r\n", {"title": "only", "content": "only"}, id="no text"),
        pytest.param(b"\r\njust text", {"content": "just text", "title": None}, id="no headers"),
        pytest.param(b"nothing like a mail", {"content": "nothing like a mail"}, id="no mail"),
        pytest.param(b"", {"content": "(an empty mail)", "sender": None}, id="empty"),
        pytest.param(
            b"Subject: =?utf-8?B?0KHQsdC+0Lk=?= =?koi8-r?Q?_=D3=C5=D4=C9?=\n\nx", {"title": "Сбой сети"}, id="encoded words"
        ),
        pytest.param(b"Subject: =?x-odd?B?0KHQ?= =?utf-8?B?!!?=\n\nx", {"content": "x"}, id="wrong encoded words"),
        pytest.param("Subject: Сбой\n\nx".encode(), {"title": "Сбой"}, id="UTF-8 as it is"),
        pytest.param(
            "Subject: Сбой\nContent-Type: text/plain; charset=windows-1251\n\nНет связи".encode("cp1251"),
            {"title": "Сбой", "content": "Нет связи"},
            id="another charset as it is",
        ),
        pytest.param("Subject: caf\u00e9\n\ncaf\u00e9".encode("latin-1"), {"title": "café", "content": "café"}, id="no charset"),
        pytest.param(
            b"Content-Type: text/plain; charset=x-unknown-8bit\n\n\xd1\x81", {"content": "с"}, id="an unknown charset"
        ),
        pytest.param(b"Content-Type: text/plain; charset=base64\n\nx", {"content": "x"}, id="a charset that is none"),
        pytest.param(b"Content-Type: text/plain; charset=utf-7\n\n+2AA-", {}, id="a lone surrogate"),
        pytest.param(
            b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\naGVsbG8", {"content": "hello"}, id="base64 cut off"
        ),
        pytest.param(b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n%%%%", {}, id="no base64"),
        pytest.param(b"Content-Type: text/plain\nContent-Transfer-Encoding: 9bit\n\nx", {"content": "x"}, id="9bit"),
        pytest.param(
            b"Content-Type: text/html\n\n<head><title>t</title><style>p{}</style></head><p>Disk <b>full</b><br>on a &amp; b",
            {"content": "Disk full\non a & b"},
            id="HTML alone",
        ),
        pytest.param(b"Message-ID: <>\nFrom: \nDate: never\n\nx", {"content": "x", "id": None}, id="empty fields"),
        pytest.param(b"From: the fax <\nDate: 1 Jan 99999 00:00\n\nx", {"content": "x", "occurred_at": None}, id="odd fields"),
        pytest.param(b"Importance: High\n\nx", {"severity": "error"}, id="importance"),
        pytest.param(b"Message-ID: <" + b"x" * 600 + b">\n\nx", {"id": None}, id="a long id"),
        pytest.param(b"Subject: a\x00b\x1b[31m\nMessage-ID: <a\x00b>\n\nx\x00y", {"title": "ab", "id": "ab"}, id="controls"),
        pytest.param(
            b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nseen",
            {"content": "seen"},
            id="no last boundary",
        ),
        pytest.param(b"Content-Type: multipart/mixed\n\nwhat is here", {}, id="no boundary"),
    ],
)  # fmt: skip
def test_a_mail_becomes_a_message(data: bytes, wanted: dict[str, Any]) -> None:
    made = read(data)
    assert {name: made.get(name) for name in wanted} == wanted


def a_mail() -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["Message-ID"] = "Größe", "Drucker <d@example.org>", "<7@d>"
    mail.set_content("Toner leer: ä\n")
    mail.add_alternative("<p>Toner <b>leer</b></p>", subtype="html")
    mail.add_attachment(b"x" * 3000, maintype="application", subtype="pdf", filename="Übersicht.pdf")
    inner = EmailMessage()
    inner["Subject"] = "what went before"
    inner.set_content("old")
    mail.add_attachment(inner)
    return mail


def test_attachments_are_named_and_the_plain_text_is_taken() -> None:
    made = read(a_mail().as_bytes())
    assert made["title"] == "Größe"
    text, _, named = made["content"].partition("\n\n")
    assert text == "Toner leer: ä"
    assert named.startswith("Attachments, which are not kept: Übersicht.pdf (2 KiB), what went before (")


def test_whatever_is_changed_in_a_mail_it_becomes_a_message() -> None:
    good, chance = a_mail().as_bytes(), random.Random(7)
    for _ in range(400):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 12)):
            place, length = chance.randrange(len(data)), chance.randrange(1, 40)
            data[place : place + length] = chance.choice(
                [
                    b"",
                    b"\0",
                    b"\xff\xfe",
                    b"=?utf-8?B?",
                    b"\n\n",
                    b"; boundary=",
                    b"--",
                    b"\r",
                    b"(((",
                    b'"',
                    chance.randbytes(5),
                ]
            )
        assert read(bytes(data))["content"]


def nested(depth: int) -> bytes:
    levels = [b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level) for level in range(depth)]
    return b"".join([b"Subject: deep\n", *levels, b"\nthe end"])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(nested(40), id="nested"),
        pytest.param(nested(5000), id="nested too deeply"),
        pytest.param(b"Subject: x\n\n" + b"\n" * 1_000_000, id="a million lines"),
        pytest.param(b"Subject: " + b"=?utf-8?Q?a?= " * 100_000 + b"\n\nx", id="a long subject"),
        pytest.param(b"From: " + b"(" * 1_000_000 + b"\n\nx", id="a long sender"),
        pytest.param(b"X: 1\n" * 100_000 + b"\nx", id="many headers"),
        pytest.param(b"Content-Type: text/html\n\n" + b"<!--" * 1_000_000, id="comments without an end"),
        pytest.param(b"Content-Type: text/html\n\n" + b"<script>" * 100_000, id="scripts without an end"),
        pytest.param(b"Content-Type: text/plain; " + b'a="' * 200_000 + b"\n\nx", id="a long parameter"),
        pytest.param(
            b'Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: attachment; filename="'
            + b";" * 2_000_000
            + b"\n\nx\n--b--\n",
            id="a long parameter of a part",
        ),
        pytest.param(b'Content-Type: text/plain; name="' + b";" * 190_000 + b"\n\nx", id="a parameter without an end"),
        pytest.param(b"Content-Type: text/plain; charset=punycode\n\n" + b"a" * 1_000_000, id="a slow charset"),
    ],
)
def test_what_means_harm_is_read_too(data: bytes) -> None:
    assert read(data)["content"]


def test_a_long_text_says_that_it_is_cut() -> None:
    assert read(b"Subject: x\n\n" + b"a" * (MAX_TEXT + 1))["content"] == "a" * MAX_TEXT + CUT
    assert read(b"Subject: x\n\n" + b"\x01\xff" * MAX_TEXT * 2)["content"].endswith(CUT)
    many = EmailMessage()
    many.set_content("x")
    for number in range(60):
        many.add_attachment(b"", maintype="image", subtype="png", filename=f"{number}.png")
    assert read(many.as_bytes())["content"].endswith("49.png (0 bytes), and 10 more")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        pytest.param("a < b and <c", "a < b and", id="a sign and a tag without an end"),
        pytest.param("x<SCRIPT>alert(1)</Script>y<style>", "xy", id="what is hidden"),
        pytest.param("<p>a</p>\n\n<p>b</p><br><br><br>c", "a\n\nb\n\nc", id="blocks"),
        pytest.param("<table><tr><td>a<td>b<tr><td>1</table>", "a b\n1", id="a table"),
        pytest.param("<!DOCTYPE html><?xml?>&lt;b&gt; &#0; &nope;", "<b> \ufffd &nope;", id="entities"),
    ],
)
def test_html_becomes_what_a_reader_sees(source: str, text: str) -> None:
    assert html_text(source) == text
