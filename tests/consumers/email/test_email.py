"""The e-mail consumer against a real SMTP server library on loopback: what it sends, to whom, and how it signs in."""

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from consumers.email import Email
from notifier import Context, Delivery, Marked, Rendered, Result, Span, User
from notifier.errors import Permanent, Retryable
from notifier.network import Network
from notifier.plugin import secret_fields
from tests.rigs.company_network import make_authority
from tests.rigs.mail_server import PASSWORD, USERNAME, MailServer, mailing, serving
from tests.rigs.plugin_world import context_without_scripts, make_delivery
from tests.rigs.repository import ROOT

SENDER = {"host": "smtp.example.org", "sender": "noreply@example.org"}


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    """A mail server without encryption, that anybody may use."""
    async with serving() as server:
        yield server


@pytest.fixture
def context() -> Context:
    return context_without_scripts("mail")


def make(
    content: str = "build failed", number: int = 1, address: str | None = "al@example.com", **more: Any
) -> Delivery:
    return make_delivery(content, number=number, consumer="mail", address=address, **more)


def saying(rendered: Rendered) -> Context:
    """A context in which every delivery says that."""

    async def content(delivery: Delivery) -> Rendered:
        return rendered

    return replace(context_without_scripts("mail"), rendered=content)


async def test_a_person_gets_a_mail_of_the_own_with_a_text_and_a_page(server: MailServer, context: Context) -> None:
    deliveries = [make(message={"title": "CI: rot 🔥"}), make("done", 2, "bea@bücher.example")]
    async with mailing(server) as consumer:
        assert not consumer.fixed_address()
        assert await consumer.deliver(deliveries, context) == [Result(), Result()]
    first, second = server.mails
    assert (first.sender, first.recipients) == ("noreply@example.org", ["al@example.com"])
    assert second.recipients == ["bea@xn--bcher-kva.example"]
    assert first.read["To"] == "al@example.com"
    assert first.read["From"] == "Notifier <noreply@example.org>"
    assert first.read["Subject"] == "CI: rot 🔥"
    assert "bea" not in first.raw.decode()
    assert "build failed" in first.part("plain")
    assert "build failed" in first.part("html")
    assert server.sessions == 1


async def test_one_address_gets_all_messages(server: MailServer, context: Context) -> None:
    async with mailing(server, to="team@example.org") as consumer:
        assert consumer.fixed_address()
        await consumer.deliver([make(address=None)], context)
    assert server.mails[0].recipients == ["team@example.org"]


async def test_a_repeat_has_the_same_message_id_and_another_mail_another(server: MailServer, context: Context) -> None:
    async with mailing(server) as consumer:
        for number in (1, 1, 2):
            await consumer.deliver([make(number=number)], context)
    first, repeat, other = (mail.read["Message-ID"] for mail in server.mails)
    assert first == repeat != other
    assert first.endswith("@example.org>")


async def test_mails_of_one_thing_are_one_thread(server: MailServer, context: Context) -> None:
    messages: list[dict[str, Any]] = [
        {"labels": {"alertname": "DiskFull", "host": "a"}},
        {"labels": {"alertname": "DiskFull", "host": "b"}},
        {"labels": {"alertname": "Down"}},
        {"labels": {}, "deduplication_key": "fingerprint-1"},
        {"labels": {}, "deduplication_key": ["no", "text"]},
    ]
    async with mailing(server, thread_by=["alertname"]) as consumer:
        for number, message in enumerate(messages):
            await consumer.deliver([make(number=number, message=message)], context)
    full, again, down, keyed, alone = (mail.read for mail in server.mails)
    assert full["References"] == again["References"] == again["In-Reply-To"]
    assert len({str(mail["References"]) for mail in (full, down, keyed)}) == 3
    assert "References" not in alone


async def test_what_is_marked_is_seen_in_the_page_and_what_is_not_is_text(server: MailServer) -> None:
    text = "<b>x</b> & bold link\ncode"
    spans = (
        Span(start=11, end=20, style="bold"),
        Span(start=16, end=20, style="link", value='https://example.org/?a="1"&b=2'),
        Span(start=21, end=25, style="pre", value="python"),
    )
    async with mailing(server) as consumer:
        await consumer.deliver([make()], saying(Rendered(subject="", body=Marked(text, spans))))
    (mail,) = server.mails
    link = '<a href="https://example.org/?a=&quot;1&quot;&amp;b=2">link</a>'
    assert f"&lt;b&gt;x&lt;/b&gt; &amp; <b>bold {link}</b><br><pre>code</pre></div>" in mail.part("html")
    assert 'bold link (https://example.org/?a="1"&b=2)\ncode' in mail.part("plain")
    assert mail.read["Subject"] == '<b>x</b> & bold link (https://example.org/?a="1"&b=2)'


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "tg://resolve", "data:text/html,x", "https://\nx", "http://[x", " https://x"]
)
async def test_a_link_that_leads_to_no_page_is_text(server: MailServer, address: str) -> None:
    rendered = Rendered(subject="s", body=Marked("link", (Span(start=0, end=4, style="link", value=address),)))
    async with mailing(server) as consumer:
        await consumer.deliver([make()], saying(rendered))
    assert ">link</div>" in server.mails[0].part("html")


@pytest.mark.parametrize(
    "subject",
    [
        "a\r\nBcc: eve@example.org",
        "a\nb",
        "=?utf-8?q?forged?=",
        "Ünïcode " * 40,
        "\x1b[31mred\x1b[0m",
        "\ud800",
        "x" * 2000,
    ],
    ids=["CRLF", "LF", "encoded word", "long", "colour", "surrogate", "one long word"],
)
async def test_a_subject_is_one_line_and_nothing_else(server: MailServer, subject: str) -> None:
    async with mailing(server) as consumer:
        (result,) = await consumer.deliver([make()], saying(Rendered(subject=subject, body=Marked("text"))))
    assert result == Result()
    (mail,) = server.mails
    assert "Bcc" not in mail.read
    assert len(mail.read["Subject"]) <= 200
    assert (
        " ".join(subject.split())[:20].replace("\x1b[31m", "").replace("\ud800", "?").rstrip("\x1b[0m")
        in mail.read["Subject"]
    )
    assert mail.raw.isascii()
    assert all(len(line) <= 998 for line in mail.raw.split(b"\r\n"))


async def test_a_long_text_arrives_whole(server: MailServer, context: Context) -> None:
    text = ("👨‍👩‍👧🇩🇪 한국어 தமிழ்\n.\n..\n" * 1500 + "https://example.org/" + "x" * 3000).strip()
    async with mailing(server) as consumer:
        await consumer.deliver([make(text)], context)
    (mail,) = server.mails
    assert text in mail.part("plain")
    assert text.replace("\n", "<br>") in mail.part("html")


async def test_what_cannot_be_sent_is_refused_alone(server: MailServer) -> None:
    context = saying(Rendered(subject="s", body=Marked("\u200b \n")))
    async with mailing(server) as consumer:
        results = [*await consumer.deliver([make(), make(number=2, address="no address")], context)]
        results += await consumer.deliver([make(message=b"[]")], context_without_scripts("mail"))
    assert [(result.outcome, result.reason) for result in results] == [
        ("refused", "invalid_content"),
        ("refused", "no_address"),
        ("refused", "invalid_content"),
    ]
    assert server.sessions == 0


@pytest.mark.parametrize(
    ("info", "address"),
    [
        pytest.param({"email": {"username": "Al.B+x@example.com"}}, "Al.B+x@example.com", id="address"),
        pytest.param(
            {"email": [{"username": "al"}, {"id": "al@bücher.example"}]}, "al@xn--bcher-kva.example", id="second"
        ),
        pytest.param({"email": {"username": "al"}}, None, id="no address"),
        pytest.param({"email": {"username": "a@b\r\nRCPT TO:<c@d>"}}, None, id="command"),
        pytest.param({"email": {"username": '"a b"@example.org'}}, None, id="quoted"),
        pytest.param({"email": {"username": "ал@example.org"}}, None, id="not ASCII"),
        pytest.param({"email": {"username": "a@" + "b" * 300}}, None, id="too long"),
        pytest.param({"default": {"username": "a@b.example"}}, None, id="another world"),
    ],
)
def test_the_address_of_a_person_is_the_first_that_is_one(info: dict[str, Any], address: str | None) -> None:
    consumer = Email(Email.Parameters.model_validate(SENDER))
    assert consumer.address(User(username="alice", additional_info=info)) == address


def test_nobody_is_called_by_an_address() -> None:
    consumer = Email(Email.Parameters.model_validate(SENDER))
    assert consumer.name_of(User(username="alice", additional_info={"email": {"username": "a@b.example"}})) is None


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "starttls"])
async def test_it_signs_in_under_encryption_and_a_stranger_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context, tls: bool
) -> None:
    authority, certificate = make_authority(tmp_path)
    given = {"security": "tls" if tls else "auto", "username": USERNAME, "password": PASSWORD}
    async with serving(certificate, tls=tls, sign_in=True) as server:
        async with mailing(server, **given) as consumer:
            if not tls:  # of a handshake that the client breaks off, asyncio's server leaves the connection behind
                with pytest.raises(Retryable, match="not trusted"):
                    await consumer.deliver([make()], context)
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
            assert await consumer.deliver([make()], context) == [Result()]
        assert server.signed_in == 1
        async with mailing(server, **given | {"password": "wrong"}) as consumer:
            with pytest.raises(Permanent, match="535") as refused:
                await consumer.check(context)
        assert refused.value.reason == "unauthorized"
    assert len(server.mails) == 1


async def test_nothing_is_sent_without_encryption_where_it_is_wanted(server: MailServer, context: Context) -> None:
    async with mailing(server, security="starttls", username=USERNAME, password=PASSWORD) as consumer:
        with pytest.raises(Retryable, match="STARTTLS"):
            await consumer.deliver([make()], context)
    assert server.mails == []
    assert server.signed_in == 0


async def test_a_server_in_the_own_network_is_refused(server: MailServer, context: Context) -> None:
    async with mailing(server) as consumer:
        with pytest.raises(Permanent, match="NOTIFIER_ALLOWED_ADDRESSES") as refused:
            await consumer.deliver([make()], replace(context, network=Network()))
    assert refused.value.reason == "forbidden"
    assert server.sessions == 0


async def test_the_check_sends_nothing(server: MailServer, context: Context) -> None:
    async with mailing(server, to="team@example.org") as consumer:
        await consumer.check(context)
        server.told(("RCPT", "550 5.1.1 unknown"))
        with pytest.raises(Permanent, match="unknown"):
            await consumer.check(context)
    assert server.mails == []


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        pytest.param({"host": "https://x"}, "host", id="an address of the web"),
        pytest.param({"host": "a\r\nb"}, "host", id="line end in the host"),
        pytest.param({"sender": "nobody"}, "sender", id="no address"),
        pytest.param({"sender": "a <b@example.org>\r\nBcc: x@y"}, "sender", id="line end in the sender"),
        pytest.param({"to": "a@b, c@d"}, "to", id="two addresses"),
        pytest.param({"security": "ssl"}, "security", id="unknown word"),
        pytest.param({"password": "x"}, "username", id="password of nobody"),
        pytest.param({"port": 0}, "port", id="no port"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Email.Parameters.model_validate({**SENDER, **wrong})


def test_secrets_stay_secret_and_the_library_is_not_imported_before_the_first_mail() -> None:
    assert secret_fields(Email.Parameters) == {"password", "proxy"}
    program = "import sys, consumers\nassert 'aiosmtplib' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)
