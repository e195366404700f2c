"""Mails that devices send to the SMTP door, by the standard library's client."""

import asyncio
import json
import re
import secrets
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from control_api.access.tokens import create_token
from control_api.mail.door import MAX_BYTES, MAX_CONNECTIONS
from notifier.registry import Registry
from notifier.seal import generate_key
from notifier.settings import Settings, load_settings
from producers.mail import Mail
from streams.broker.ports import free_port
from tests.rigs.api_rig import REGISTRY, Api, running, served_in_a_thread
from tests.rigs.api_rig import client as client_of
from tests.rigs.brokerless import brokerless
from tests.rigs.company_network import make_authority
from tests.rigs.kafka_tools import read_all, wait_until
from tests.rigs.roles import run, start_role

pytest_plugins = ["tests.rigs.databases"]

TYPES = Registry([*REGISTRY, Mail])
UNKNOWN = 550


@pytest.fixture(scope="module")
def door(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API that takes mails for the producers `printer` and `ups`."""
    settings = load_settings(
        env_file=None,
        kafka=broker,
        topic_prefix=f"t{secrets.token_hex(4)}.",
        data_dir=tmp_path_factory.mktemp("door"),
        secret_key=generate_key(),
        mail_port=free_port(),
    )
    with served_in_a_thread(settings, registry=TYPES) as api:
        yield api


@pytest.fixture
async def devices(door: Api) -> Api:
    async with door.client() as admin:
        for name, parameters in {"printer": {}, "ups": {"receiver": "alice"}}.items():
            answer = await admin.post(
                "/api/v1/producers", json={"name": name, "type": "mail", "parameters": parameters}
            )
            assert answer.status_code in (201, 409), answer.text
    return door


def client(settings: Settings) -> smtplib.SMTP:
    assert settings.mail_port is not None
    return smtplib.SMTP("localhost", settings.mail_port, local_hostname="device", timeout=120)


def a_mail(subject: str, **headers: str) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = subject, "device@example.org", "notifier@example.org"
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content("Toner is low.")
    return mail


async def messages(settings: Settings, title: str) -> list[dict[str, Any]]:
    found = [json.loads(record.value) for record in await read_all(settings, "messages")]
    return sorted((one for one in found if one.get("title") == title), key=lambda one: str(one["producer"]))


async def test_a_mail_is_a_message_once_it_is_taken(devices: Api) -> None:
    token = devices.tokens["push"]
    mail = a_mail("Toner", Message_ID="<7@printer>", X_Priority="2")

    def send() -> None:
        with client(devices.settings) as smtp:
            to = [f"printer+{token}@notifier.example.org", f"UPS+{token}@x", f"ups+{token}@y"]
            assert smtp.send_message(mail, "device@example.org", to) == {}
            assert smtp.sendmail("", [f"printer+{token}@x"], "no mail at all") == {}

    await asyncio.to_thread(send)
    printer, ups = await messages(devices.settings, "Toner")
    assert printer == {
        "producer": "printer", "id": "7@printer", "title": "Toner", "content": "Toner is low.", "severity": "error",
        "sender": "device@example.org", "labels": {"from": "device@example.org"},
    }  # fmt: skip
    assert ups == {**printer, "producer": "ups", "receiver": "alice"}
    everything = str([record.value for record in await read_all(devices.settings, "messages")])
    assert "no mail at all" in everything
    assert token not in everything


async def test_who_signs_in_needs_no_token_in_the_address(devices: Api) -> None:
    def send() -> None:
        for mechanism in ("PLAIN", "LOGIN"):
            with client(devices.settings) as smtp:
                smtp.ehlo()
                smtp.user, smtp.password = "printer", devices.tokens["push"]
                smtp.auth(mechanism, getattr(smtp, f"auth_{mechanism.lower()}"))
                smtp.send_message(a_mail(f"by {mechanism}"), "device@example.org", ["printer@notifier"])
        for token in ("ntf_0123456789abcdef_" + "x" * 43, "", "\udce4", devices.tokens["read"]):
            with client(devices.settings) as smtp, pytest.raises(smtplib.SMTPAuthenticationError):
                smtp.login("printer", token.encode("utf-8", "replace").decode())

    await asyncio.to_thread(send)
    for mechanism in ("PLAIN", "LOGIN"):
        assert len(await messages(devices.settings, f"by {mechanism}")) == 1


async def test_what_is_wrong_about_an_address_is_not_told(devices: Api) -> None:
    token = devices.tokens["push"]
    wrong = token[:-2] + ("aa" if token[-2:] != "aa" else "bb")
    addresses = [
        f"printer+{wrong}@x", f"nobody+{token}@x", f"nobody+{wrong}@x", f"ci+{token}@x", f"printer+{devices.tokens['read']}@x",
        "printer@x", "printer+@x", f"+{token}@x", f"{'p' * 300}@x", "nö@x",
    ]  # fmt: skip

    def send() -> set[tuple[int, bytes]]:
        answers = set()
        for address in addresses:
            with client(devices.settings) as smtp:
                smtp.ehlo()
                smtp.mail("device@example.org")
                answers.add(smtp.docmd(f"RCPT TO:<{address}>"[:500]) if address.isascii() else smtp.rcpt("n@x"))
                assert smtp.docmd("DATA")[0] == 503
        return answers

    ((code, words),) = await asyncio.to_thread(send)
    assert code == UNKNOWN
    assert b"No such address here, or the token is wrong" in words


async def test_a_token_of_one_producer_takes_mails_for_it_alone(devices: Api) -> None:
    token = await create_token(devices.settings, name="ups", scopes=["push"], producer="ups")

    def send() -> list[int]:
        with client(devices.settings) as smtp:
            smtp.login("ups", token)
            smtp.mail("a@x")
            return [smtp.rcpt(address)[0] for address in (f"ups+{token}@x", "ups@x", f"printer+{token}@x", "printer@x")]

    assert await asyncio.to_thread(send) == [250, 250, UNKNOWN, UNKNOWN]


async def test_sizes_numbers_and_odd_clients_are_limited(devices: Api) -> None:
    token = devices.tokens["push"]

    def send() -> None:
        with client(devices.settings) as smtp:
            smtp.ehlo()
            assert int(smtp.esmtp_features["size"]) == MAX_BYTES
            with pytest.raises(smtplib.SMTPException):
                smtp.sendmail("a@x", [f"printer+{token}@x"], b"Subject: huge\r\n\r\n" + b"x" * 60 + b"\r\n" * MAX_BYTES)
        with client(devices.settings) as smtp:
            smtp.sendmail("a@x", [f"printer+{token}@x"], b"Subject: long line\r\n\r\n" + b"x" * 500_000)
        with client(devices.settings) as smtp:
            smtp.ehlo()
            smtp.mail("a@x")
            for _ in range(3):
                assert smtp.rcpt(f"printer+{token}@x")[0] == 250
            for line in ("AUTH", "AUTH CRAM-MD5", "RCPT TO:" + "x" * 1000, "NONSENSE", "", "STARTTLS"):
                assert smtp.docmd(line)[0] >= 400
        with ExitStack() as stack:
            open_ones = [socket.create_connection(("127.0.0.1", devices.settings.mail_port or 0)) for _ in range(40)]
            greetings = [stack.enter_context(one).recv(100) for one in open_ones]
            full = [greeting for greeting in greetings if greeting.startswith(b"421")]
            assert len(full) >= 40 - MAX_CONNECTIONS

    await asyncio.to_thread(send)
    assert await messages(devices.settings, "huge") == []
    assert len(await messages(devices.settings, "long line")) == 1

    def is_free_again() -> bool:
        with client(devices.settings) as smtp:
            return smtp.noop()[0] == 250

    async def free() -> bool:
        try:
            return await asyncio.to_thread(is_free_again)
        except smtplib.SMTPException:
            return False

    await wait_until(free)


async def test_without_a_broker_a_mail_is_to_be_sent_again(
    upgraded_file: Path, tmp_path: Path, own_settings: None
) -> None:
    settings = brokerless(upgraded_file, tmp_path).model_copy(update={"mail_port": free_port()})
    token = await create_token(settings, name="d", scopes=["push", "write"])
    async with running(settings, registry=TYPES) as url:
        async with client_of(url, token) as asking:
            made = await asking.post("/api/v1/producers", json={"name": "printer", "type": "mail"})
            assert made.status_code == 201

        def send() -> int:
            with client(settings) as smtp, pytest.raises(smtplib.SMTPDataError) as refused:
                smtp.send_message(a_mail("later"), "a@x", [f"printer+{token}@x"])
            return refused.value.smtp_code

        assert await asyncio.to_thread(send) == 451


async def test_the_role_takes_mails_encrypted_and_logs_no_token(settings: Settings, tmp_path: Path) -> None:
    authority, _ = make_authority(tmp_path)
    served = settings.model_copy(
        update={"http_port": free_port(), "mail_port": free_port(), "mail_cert_file": tmp_path / "server.pem"}
    )
    file = tmp_path / "definitions.yaml"
    file.write_text("producers:\n  - {name: printer, type: mail}\n")
    status, out, err = await run(settings, "apply", "--file", str(file))
    assert status == 0, out + err
    token = await create_token(settings, name="printer", scopes=["push"])
    role = await start_role(served.model_copy(update={"log_level": "DEBUG"}), "api")
    try:
        await wait_until(lambda: "Mails are taken" in role.output() or role.process.returncode is not None)

        def send() -> None:
            with client(served) as smtp:
                smtp.ehlo()
                assert "auth" not in smtp.esmtp_features
                assert smtp.docmd("AUTH", "PLAIN")[0] == 538
                smtp.starttls(context=ssl.create_default_context(cafile=str(authority)))
                smtp.login("printer", token)
                for number, address in enumerate(("printer@x", f"printer+{token}@x")):
                    smtp.send_message(a_mail("encrypted", Message_ID=f"<{number}>"), "a@x", [address])

        async def sent() -> bool:
            try:
                await asyncio.to_thread(send)
            except smtplib.SMTPDataError:  # 451: the broker is not found yet
                return False
            return True

        await wait_until(sent)
        assert {one["id"] for one in await messages(settings, "encrypted")} == {"0", "1"}
        assert await role.stop() == 0
        assert not re.search(re.escape(token), role.output())
    finally:
        await role.stop()
