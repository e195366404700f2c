"""Secret parameters: kept, replaced, cleared, and nowhere in clear."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr, create_model
from sqlalchemy import select

from control_api.definitions.apply import apply, export
from control_api.definitions.documents import load
from control_api.definitions.plan import Planner
from control_api.definitions.services import Services
from control_api.definitions.writes import Write
from control_api.models import Base
from notifier.database import Database
from notifier.errors import InputError, NotifierError, SecretError
from notifier.kafka import kafka_admin
from notifier.plugin import Consumer, ConsumerParameters, secret_addresses
from notifier.registry import Registry
from notifier.seal import Seal, generate_key, is_sealed
from notifier.settings import Settings
from tests.rigs.definitions_rig import (
    CANARY,
    CHAT,
    EDITOR,
    FEED,
    REGISTRY,
    Apply,
    ChatParameters,
    publish_all,
    write_files,
)  # fmt: skip
from tests.rigs.kafka_tools import read_all

pytest_plugins = ["tests.rigs.databases"]


async def token_of(services: Services, seal: Seal, field: str = "token") -> Any:
    value = (await services.get("consumer", "team")).spec["parameters"].get(field)
    return None if value is None else seal.open(value, f"consumer/team/{field}")


@pytest.mark.parametrize("written", ["s3cret\n", "s3cret\r\n\n", "\ufeffs3cret", "\ufeffs3cret\r\n"], ids=ascii)
async def test_what_files_and_editors_put_around_a_secret_is_left_out(
    services: Services, seal: Seal, written: str
) -> None:
    parameters = {"token": written, "chat_id": 1, "urls": [written, "b"], "headers": {"X": written}}
    await services.create(EDITOR, "consumer", {"name": "team", "type": "chat", "parameters": parameters})
    assert await token_of(services, seal) == "s3cret"
    stored = (await services.get("consumer", "team")).spec["parameters"]
    assert seal.open(stored["urls"][0], "consumer/team/urls") == "s3cret"
    assert seal.open(stored["headers"]["X"], "consumer/team/headers") == "s3cret"
    revision = (await services.get("consumer", "team")).revision
    again = await services.patch(EDITOR, "consumer", "team", {"parameters": {"token": "s3cret"}})
    assert again.revision == revision


@pytest.mark.parametrize(
    ("written", "detail"),
    [
        (" s3cret", "begins with a blank; take it out"),
        ("s3cret \r\n", "ends with a blank; take it out"),
        ("s3cret\u00a0", "ends with the character U+00A0, which cannot be seen; take it out"),
        ("\u200bs3cret", "begins with the character U+200B, which cannot be seen; take it out"),
        ("s3cret\t", "ends with the character U+0009, which cannot be seen; take it out"),
        ("s3cret\ufeff", "ends with the character U+FEFF, which cannot be seen; take it out"),
        ("\r\ns3cret", "begins with the character U+000D, which cannot be seen; take it out"),
    ],
    ids=ascii,
)
async def test_what_cannot_be_seen_around_a_secret_is_refused(services: Services, written: str, detail: str) -> None:
    definition = {"name": "team", "type": "chat", "parameters": {"token": written, "chat_id": 1}}
    with pytest.raises(InputError) as caught:
        await services.create(EDITOR, "consumer", definition)
    assert [(error.pointer, error.detail) for error in caught.value.errors] == [("/parameters/token", detail)]


async def test_secrets_are_kept_replaced_and_cleared(services: Services, seal: Seal) -> None:
    created = await services.create(EDITOR, "consumer", CHAT)
    assert is_sealed(created.spec["parameters"]["token"])
    kept: list[Callable[[], Awaitable[Any]]] = [
        lambda: services.replace(EDITOR, "consumer", "team", {"type": "chat", "parameters": {"chat_id": 1}}),
        lambda: services.replace(EDITOR, "consumer", "team", {"type": "chat"}),
        lambda: services.replace(EDITOR, "consumer", "team", {"type": "chat", "parameters": {"token": {"set": True}}}),
        lambda: services.patch(EDITOR, "consumer", "team", {"parameters": {"chat_id": 2}}),
        lambda: services.patch(EDITOR, "consumer", "team", {"parameters": None}),
        lambda: services.patch(EDITOR, "consumer", "team", {"parameters": {"token": {"set": True}}}),
    ]
    for change in kept:
        await change()
        assert await token_of(services, seal) == CANARY
    # what is shown can be written back
    shown = (await services.get("consumer", "team")).document
    assert (await services.replace(EDITOR, "consumer", "team", shown)).spec["parameters"] == {
        "token": created.spec["parameters"]["token"]
    }
    revision = (await services.get("consumer", "team")).revision
    # the same secret again is no change, though sealing it again would give another text
    assert (await services.patch(EDITOR, "consumer", "team", {"parameters": {"token": CANARY}})).revision == revision
    await services.patch(EDITOR, "consumer", "team", {"parameters": {"token": "new", "urls": ["a", "b"]}})
    assert await token_of(services, seal) == "new"
    for required in (
        services.patch(EDITOR, "consumer", "team", {"parameters": {"token": None}}),
        services.replace(EDITOR, "consumer", "team", {"type": "chat", "parameters": {"token": None}}),
    ):
        with pytest.raises(InputError) as caught:
            await required
        assert [error.pointer for error in caught.value.errors] == ["/parameters/token"]
    cleared = await services.patch(EDITOR, "consumer", "team", {"parameters": {"urls": None}})
    assert set(cleared.spec["parameters"]) == {"token"}
    mapped = await services.patch(EDITOR, "consumer", "team", {"parameters": {"headers": {"X-Key": "one"}}})
    assert mapped.document["parameters"]["headers"] == {"set": True}
    mapped = await services.patch(EDITOR, "consumer", "team", {"parameters": {"headers": {"X-Other": "two"}}})
    assert set(mapped.spec["parameters"]["headers"]) == {"X-Other"}


async def test_a_secret_does_not_follow_to_another_type(services: Services) -> None:
    await services.create(EDITOR, "consumer", CHAT)
    other = Registry([Chat2, *REGISTRY])
    services.registry = other
    for change in (
        services.replace(EDITOR, "consumer", "team", {"type": "chat2"}),
        services.patch(EDITOR, "consumer", "team", {"type": "chat2"}),
    ):
        with pytest.raises(InputError) as caught:
            await change
        assert caught.value.errors[0].pointer == "/parameters/token"


class Chat2(Consumer[ChatParameters]):
    """Writes to another service."""

    type = "chat2"
    Parameters = ChatParameters


MOVED = "was given for another `url` and is not sent to a new one; write the secret itself"


@pytest.mark.parametrize(
    "parameters",
    [{"url": "https://evil"}, {"url": "https://evil", "token": {"set": True}}],
    ids=["left out", "as shown"],
)
async def test_a_secret_does_not_follow_to_another_address(
    services: Services, applied: Apply, tmp_path: Path, parameters: dict[str, Any]
) -> None:
    await services.create(EDITOR, "producer", FEED)
    write_files(tmp_path, d_yaml=yaml.dump({"producers": [{"name": "news", "type": "feed", "parameters": parameters}]}))
    for change in (
        services.replace(EDITOR, "producer", "news", {"type": "feed", "parameters": parameters}),
        services.patch(EDITOR, "producer", "news", {"parameters": parameters}),
        services.draft(
            EDITOR, Write(action="patch", kind="producer", name="news", document={"parameters": parameters})
        ),
        applied(tmp_path),
    ):
        with pytest.raises(InputError) as caught:
            await change
        (error,) = caught.value.errors
        assert error.pointer.endswith("/parameters/token")
        assert error.detail == MOVED


async def test_an_optional_secret_is_cleared_with_its_address_and_one_given_anew_is_taken(
    services: Services, seal: Seal, applied: Apply, tmp_path: Path
) -> None:
    parameters = {"url": "https://news", "token": CANARY, "webhook_secret": "hook"}
    await services.create(EDITOR, "producer", {"name": "news", "type": "feed", "parameters": parameters})
    moved = {"url": "https://other", "token": "anew"}
    write_files(tmp_path, d_yaml=yaml.dump({"producers": [{"name": "news", "type": "feed", "parameters": moved}]}))
    plan = await applied(tmp_path, dry_run=True)
    assert "parameters.webhook_secret (secret) → (none)" in plan.lines()[0]
    stored = (await services.patch(EDITOR, "producer", "news", {"parameters": moved})).spec["parameters"]
    assert set(stored) == {"url", "token"}
    assert seal.open(stored["token"], "producer/news/token") == "anew"
    # the same secret for another address is one that is given anew too
    again = await services.patch(EDITOR, "producer", "news", {"parameters": {"url": "https://third", "token": "anew"}})
    assert again.spec["parameters"]["token"] == stored["token"]
    # the same address changes nothing
    same = await services.patch(EDITOR, "producer", "news", {"parameters": {"url": "https://third"}})
    assert same.revision == again.revision


class MailParameters(ConsumerParameters):
    addresses = {"server_name": ["password"], "relay": ["password", "relay_key"]}  # noqa: RUF012 - a class variable

    server_name: str = "localhost"
    relay: SecretStr | None = None
    url: str = "https://help"  # where people find help; no secret is sent there
    password: SecretStr | None = None
    relay_key: SecretStr | None = None


class Mail(Consumer[MailParameters]):
    """Sends mail."""

    type = "mail"
    Parameters = MailParameters


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"url": "https://x"}, {"password", "relay_key", "relay"}),
        ({"server_name": "localhost"}, {"password", "relay_key", "relay"}),
        ({"server_name": None}, {"password", "relay_key", "relay"}),
        ({"server_name": "evil"}, {"relay_key", "relay"}),
        ({"relay": "first"}, {"password", "relay_key", "relay"}),
        ({"relay": "second"}, {"relay"}),
        ({"relay": None}, set()),
    ],
    ids=lambda value: " ".join(sorted(value)) or "nothing",
)
async def test_a_plugin_says_which_parameter_is_the_address_of_which_secret(
    store: Database, seal: Seal, change: dict[str, Any], kept: set[str]
) -> None:
    services = Services(store, Registry([Mail]), seal)
    parameters = {"relay": "first", "password": "p", "relay_key": "k"}
    await services.create(EDITOR, "consumer", {"name": "mail", "type": "mail", "parameters": parameters})
    stored = await services.patch(EDITOR, "consumer", "mail", {"parameters": change})
    assert stored.spec.get("parameters", {}).keys() & parameters.keys() == kept


@pytest.mark.parametrize(
    "name",
    ["url", "api_url", "webhook_url", "smtp_host", "homeserver", "http_proxy", "domain", "uri", "imap_port", "address"],
)
def test_an_address_is_known_by_the_last_word_of_its_name(name: str) -> None:
    fields: dict[str, Any] = {
        name: (str, ""),
        "curl": (str, ""),
        "support": (str, ""),
        "host_name_shown": (bool, False),
    }
    parameters = create_model("Parameters", __base__=ConsumerParameters, password=(SecretStr | None, None), **fields)
    assert secret_addresses(parameters) == {"password": (name,)}


def test_an_address_that_is_no_field_is_refused() -> None:
    class Wrong(MailParameters):
        addresses = {"sever": ["password"], "relay": ["url"]}  # noqa: RUF012 - a class variable

    with pytest.raises(NotifierError, match="sever, url"):
        Registry([type("Odd", (Mail,), {"Parameters": Wrong})])


async def test_a_secret_whose_key_is_gone_can_be_written_again(services: Services, store: Database) -> None:
    await services.create(EDITOR, "consumer", CHAT)
    new = Services(store, REGISTRY, Seal(generate_key()))
    with pytest.raises(SecretError, match="NOTIFIER_SECRET_KEY"):
        await new.patch(EDITOR, "consumer", "team", {"parameters": {"chat_id": 3}})
    assert (await new.get("consumer", "team")).document["parameters"]["token"] == {"set": True}
    await new.patch(EDITOR, "consumer", "team", {"parameters": {"token": CANARY}})
    await new.patch(EDITOR, "consumer", "team", {"parameters": {"chat_id": 3}})


async def test_a_type_that_is_not_installed_any_more_shows_no_secret(
    services: Services, store: Database, seal: Seal
) -> None:
    await services.create(EDITOR, "consumer", CHAT)
    bare = Services(store, Registry(), seal)
    shown = (await bare.get("consumer", "team")).document
    assert shown["parameters"] == {"token": {"set": True}, "chat_id": -100}
    await bare.delete(EDITOR, "consumer", "team")


async def test_a_planted_secret_is_nowhere_in_clear(
    database_settings: Settings,
    database: Database,
    published: Services,
    seal: Seal,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {"token": CANARY, "urls": [CANARY + "a", CANARY + "b"], "headers": {"X": CANARY + "c"}}
    (tmp_path / "d.yaml").write_text(
        yaml.dump({"consumers": [{"name": "filed", "type": "chat", "parameters": secrets}], "producers": [FEED]})
    )
    plans = [
        await apply(database, load(tmp_path / "d.yaml"), Planner(registry=REGISTRY, seal=seal), dry_run=dry)
        for dry in (True, False)
    ]
    stored = await published.create(EDITOR, "consumer", {"name": "rest", "type": "chat", "parameters": secrets})
    await published.patch(EDITOR, "consumer", "rest", {"parameters": {"token": CANARY + "d"}})
    with pytest.raises(InputError) as caught:
        await published.patch(EDITOR, "consumer", "rest", {"parameters": {"token": CANARY, "chat_id": "x"}})
    await publish_all(database_settings, database)
    async with database.read() as session:
        exported = await export(session, REGISTRY)
        everything = []
        for table in Base.metadata.sorted_tables:
            everything += [str(tuple(row)) for row in await session.execute(select(table))]
    async with kafka_admin(database_settings) as admin:
        topics = [name for name in await admin.list_topics() if name.startswith(database_settings.topic_prefix)]
    records = [
        str(record)
        for topic in topics
        for record in await read_all(database_settings, topic.removeprefix(database_settings.topic_prefix))
    ]
    assert len(records) == 4  # two consumers and a producer, and one of them again
    places = {
        "plans": [str([plan.lines(), plan.summary]) for plan in plans],
        "answer": [str(stored.document)],
        "error": [str(caught.value)],
        "export": [exported],
        "database": everything,
        "topics": records,
        "log": [caplog.text],
        "repr": [repr(published), repr(database), repr(seal)],
    }
    if database.is_sqlite:
        places["file"] = [
            file.read_bytes().decode("latin-1") for file in database_settings.data_dir.glob("notifier.sqlite3*")
        ]
        assert len(places["file"]) == 3
    assert [place for place, texts in places.items() if any(CANARY in text for text in texts)] == []
