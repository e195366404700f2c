"""What each reply of a mail server means for a delivery, through the real aiosmtplib and a real SMTP server library."""

from collections.abc import AsyncIterator

import pytest

from consumers.email import mailer
from consumers.email.answers import failure_of
from notifier import Context, Result, Retryable
from notifier.errors import DeliveryError
from notifier.outcome import Outcome, Reason
from notifier.plugin import result_of
from notifier.testing import Case, hold
from tests.rigs.mail_server import HANG_UP, PASSWORD, SILENT, USERNAME, MailServer, mailing, serving
from tests.rigs.plugin_world import context_without_scripts, make_delivery


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    """A mail server without encryption, that anybody may use."""
    async with serving() as server:
        yield server


@pytest.fixture
def context() -> Context:
    return context_without_scripts("mail")


async def outcome(server: MailServer, context: Context, **parameters: object) -> Result:
    """What the delivery worker makes of one mail."""
    async with mailing(server, **parameters) as consumer:
        try:
            (found,) = await consumer.deliver([make_delivery(consumer="mail", address="al@example.com")], context)
        except DeliveryError as error:
            return result_of(error)
        return found


@pytest.mark.parametrize(
    ("command", "reply", "expected", "reason"),
    [
        pytest.param("MAIL", "550 5.7.1 not yours", "refused", "forbidden", id="sender"),
        pytest.param("MAIL", "530 5.7.0 sign in", "refused", "unauthorized", id="sender without signing in"),
        pytest.param("MAIL", "552 5.3.4 too big", "refused", "invalid_content", id="size"),
        pytest.param("MAIL", "421 4.3.2 going down", "deferred", "server_error", id="421"),
        pytest.param("MAIL", "451 4.7.1 too many mails", "deferred", "rate_limited", id="too many"),
        pytest.param("RCPT", "550 5.1.1 no such user", "refused", "not_found", id="no such user"),
        pytest.param("RCPT", "550 no", "refused", "not_found", id="550 alone"),
        pytest.param("RCPT", "551 moved", "refused", "not_found", id="551"),
        pytest.param("RCPT", "553 no such name", "refused", "not_found", id="553"),
        pytest.param("RCPT", "556 5.1.10 null MX", "refused", "not_found", id="takes no mail"),
        pytest.param("RCPT", "550 5.7.1 relaying denied", "refused", "forbidden", id="relay"),
        pytest.param("RCPT", "554 no", "refused", "forbidden", id="554"),
        pytest.param("RCPT", "552 5.2.2 mailbox full", "deferred", "server_error", id="full"),
        pytest.param("RCPT", "550 5.2.2 over quota", "deferred", "server_error", id="full with another code"),
        pytest.param("RCPT", "450 4.2.0 greylisted", "deferred", "server_error", id="greylisted"),
        pytest.param("RCPT", "452 4.5.3 too many recipients", "deferred", "rate_limited", id="452"),
        pytest.param("DATA", "554 5.7.1 looks like spam", "refused", "forbidden", id="spam"),
        pytest.param("DATA", "552 5.2.3 too long", "refused", "invalid_content", id="too long"),
        pytest.param("DATA", "554 5.6.0 odd content", "refused", "invalid_content", id="content"),
        pytest.param("DATA", "550 5.1.1 no such user", "refused", "not_found", id="user after the mail"),
        pytest.param("DATA", "451 4.3.0 try again", "deferred", "server_error", id="451"),
        pytest.param("DATA", "354 again?", "unknown", "server_error", id="a reply that is none"),
        pytest.param("MAIL", HANG_UP, "deferred", "connection", id="ends before the mail"),
        pytest.param("DATA", HANG_UP, "unknown", "connection", id="ends after the mail"),
    ],
)
async def test_each_reply_has_an_outcome(
    server: MailServer, context: Context, command: str, reply: str, expected: Outcome, reason: Reason
) -> None:
    server.told((command, reply))
    case = Case(name=f"{command} {reply}", outcome=expected, reason=reason)
    async with mailing(server) as consumer:
        found = await hold(consumer, case, None, make_delivery(consumer="mail", address="al@example.com"), context)
    assert found.retry_after_s is None
    assert found.detail
    assert len(found.detail) < 400
    assert server.mails == []


@pytest.mark.parametrize(
    ("command", "expected", "reason"),
    [("MAIL", "deferred", "connection"), ("DATA", "unknown", "timeout")],
)
async def test_no_reply_in_time_is_unknown_once_the_mail_is_out(
    server: MailServer,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    expected: Outcome,
    reason: Reason,
) -> None:
    monkeypatch.setattr(mailer, f"{'DATA' if command == 'DATA' else 'COMMAND'}_S", 1.0)
    server.told((command, SILENT))
    found = await outcome(server, context)
    assert (found.outcome, found.reason) == (expected, reason)


@pytest.mark.parametrize(
    ("reply", "expected", "reason"),
    [
        ("535 5.7.8 wrong", "refused", "unauthorized"),
        ("534 5.7.9 too weak", "refused", "unauthorized"),
        ("454 4.7.0 later", "deferred", "server_error"),
    ],
)
async def test_signing_in_that_fails_is_nobodys_messages_fault(
    context: Context, reply: str, expected: Outcome, reason: Reason
) -> None:
    async with serving(sign_in=True) as server:
        server.told(*[("AUTH", reply)] * 3)
        found = await outcome(server, context, username=USERNAME, password=PASSWORD)
    assert (found.outcome, found.reason) == (expected, reason)
    assert "CANARY" not in repr(found)


@pytest.mark.parametrize("greeting", ["554 5.3.2 go away", "421 busy", "hello", "220-" + "x" * 100_000, "1"])
async def test_a_greeting_that_is_none_is_tried_again(context: Context, greeting: str) -> None:
    async with serving(greeting=greeting) as server:
        found = await outcome(server, context)
    assert found.outcome == "deferred"
    assert len(str(found.detail)) < 400


async def test_a_session_is_kept_after_a_refusal_and_opened_anew_where_it_ended(
    server: MailServer, context: Context
) -> None:
    one, other = (make_delivery(number=number, consumer="mail", address="al@example.com") for number in (1, 2))
    async with mailing(server) as consumer:
        server.told(("RCPT", "450 later"))
        with pytest.raises(Retryable):
            await consumer.deliver([one], context)
        await consumer.deliver([one], context)
        assert server.sessions == 1
        server.told(("RSET", "421 too long idle"))
        assert await consumer.deliver([other], context) == [Result()]
    assert (server.sessions, len(server.mails)) == (2, 2)


@pytest.mark.parametrize("code", [-1, 0, 200, 251, 354, 399, 600, 999])
def test_a_code_that_nobody_knows_is_unknown_after_the_mail_only(code: int) -> None:
    assert isinstance(failure_of("recipient", code, "\x1b[31mwhat\r\n?\ud800"), Retryable)
    assert not isinstance(failure_of("mail", code, "?"), DeliveryError)
