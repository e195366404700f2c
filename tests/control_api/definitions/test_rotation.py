"""Rotation of the key: everything sealed is under the new key afterwards, and what neither key opens is named."""

import json

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from control_api.definitions.rotation import rotate, rotate_command
from control_api.definitions.services import Services
from control_api.models import AuditRow, ChangeRow, DefinitionRow, IdempotencyRow
from notifier.database import Database
from notifier.errors import BrokerError, StillReferenced
from notifier.record import now
from notifier.registry import Registry
from notifier.seal import Seal, generate_key, is_sealed
from notifier.settings import Settings
from tests.rigs.definitions_rig import CANARY, EDITOR, FEED, REGISTRY, create_all, publish_all, rows
from tests.rigs.kafka_tools import read_all
from tests.rigs.roles import environment, run

pytest_plugins = ["tests.rigs.databases"]

LISTED = {"name": "listed", "type": "chat", "parameters": {"token": "t", "urls": ["a", "b"], "headers": {"X": "c"}}}


async def planted(database: Database, seal: Seal) -> None:
    """Definitions with five secrets of three definitions, and an answer that is kept under a key."""
    services = Services(database, REGISTRY, seal)
    await create_all(services)
    await services.create(EDITOR, "consumer", LISTED)
    async with database.write() as session:
        body = seal.close('{"token":"kept"}', IdempotencyRow.place("token ci", "k"))
        for key, value in (("k", body), ("at-work", None)):
            session.add(
                IdempotencyRow(
                    actor="token ci", key=key, request_hash="", status=201, headers=None, body=value, at=now()
                )
            )


async def test_everything_is_under_the_new_key_and_the_old_one_may_go(store: Database) -> None:
    old, new = generate_key(), generate_key()
    await planted(store, Seal(old))
    before = {(row.kind, row.name): row for row in await rows(store, DefinitionRow)}
    both = Seal(new, old)
    done = await rotate(store, REGISTRY, both)
    assert (done.resealed, done.current, done.definitions, done.closed) == (7, 0, 3, [])
    only = Seal(new)
    services = Services(store, REGISTRY, only)
    assert only.open((await services.get("producer", "news")).spec["parameters"]["token"], "producer/news/token")
    listed = (await services.get("consumer", "listed")).spec["parameters"]
    assert [only.open(url, "consumer/listed/urls") for url in listed["urls"]] == ["a", "b"]
    assert only.open(listed["headers"]["X"], "consumer/listed/headers") == "c"
    answer = next(row for row in await rows(store, IdempotencyRow) if row.body is not None)
    assert only.open(answer.body, IdempotencyRow.place("token ci", "k")) == '{"token":"kept"}'
    changed = {(row.kind, row.name) for row in await rows(store, DefinitionRow) if row.revision == done.revision}
    assert changed == {("producer", "news"), ("consumer", "team"), ("consumer", "listed")}
    for row in await rows(store, DefinitionRow):  # all else is as it was
        was = before[row.kind, row.name]
        assert (row.title, row.partitions, row.created_at) == (was.title, was.partitions, was.created_at)
    audited = [row for row in await rows(store, AuditRow) if row.action == "reseal"]
    assert len(audited) == 3
    assert all(row.before == row.after for row in audited)  # no secret changed
    with pytest.raises(StillReferenced):  # references are kept
        await services.delete(EDITOR, "consumer", "team")
    # again: nothing to do
    changes = len(await rows(store, ChangeRow))
    again = await rotate(store, REGISTRY, only)
    assert (again.resealed, again.current, again.closed, again.revision) == (0, 7, [], None)
    assert len(await rows(store, ChangeRow)) == changes


async def test_what_neither_key_opens_is_named_and_the_others_are_done(store: Database) -> None:
    lost, old, new = generate_key(), generate_key(), generate_key()
    await planted(store, Seal(old))
    stranger = Seal(lost).close("x", "consumer/team/token")
    async with store.write() as session:
        spec = {"type": "chat", "parameters": {"token": stranger}}
        await session.execute(update(DefinitionRow).where(DefinitionRow.name == "team").values(spec=spec))
    done = await rotate(store, Registry(), Seal(new, old))  # and no plugin is installed any more
    assert done.resealed == 6
    assert len(done.closed) == 1
    assert "consumer/team/token" in done.closed[0]
    async with store.read() as session:
        team = await session.scalar(select(DefinitionRow.spec).where(DefinitionRow.name == "team"))
    assert team == spec
    mended = Services(store, REGISTRY, Seal(new))
    await mended.patch(EDITOR, "consumer", "team", {"parameters": {"token": "anew"}})
    assert (await rotate(store, REGISTRY, Seal(new))).closed == []


@pytest.mark.parametrize("where", ["write_change", "_reseal_answers"])
async def test_a_rotation_that_dies_is_repeated_and_does_what_is_left(
    store: Database, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    old, new = generate_key(), generate_key()
    await planted(store, Seal(old))

    async def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"control_api.definitions.rotation.{where}", dies)
        with pytest.raises(KeyboardInterrupt):
            await rotate(store, REGISTRY, Seal(new, old))
    news = next(row for row in await rows(store, DefinitionRow) if row.name == "news")
    key = old if where == "write_change" else new  # definitions are one change, before the answers
    assert Seal(key).open(news.spec["parameters"]["token"], "producer/news/token") == CANARY
    done = await rotate(store, REGISTRY, Seal(new, old))
    assert (done.resealed, done.current) == ((7, 0) if where == "write_change" else (1, 6))


async def test_answers_are_sealed_batch_by_batch(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = generate_key(), generate_key()
    await planted(store, Seal(old))
    async with store.write() as session:
        for actor, key in (("token ci", "a"), ("token ci", "z"), ("token b", "k"), ("token z", "a")):
            body = Seal(old).close(key, IdempotencyRow.place(actor, key))
            session.add(
                IdempotencyRow(actor=actor, key=key, request_hash="", status=201, headers=None, body=body, at=now())
            )
    monkeypatch.setattr("control_api.definitions.rotation._BATCH", 2)
    done = await rotate(store, REGISTRY, Seal(new, old))
    assert (done.resealed, done.current) == (11, 0)
    kept = [row for row in await rows(store, IdempotencyRow) if row.body is not None]
    assert len(kept) == 5
    for row in kept:
        assert Seal(new).open(row.body, IdempotencyRow.place(row.actor, row.key))


async def test_the_command_publishes_and_says_how_many(database_settings: Settings, database: Database) -> None:
    settings = database_settings
    old = settings.secret_key.get_secret_value() if settings.secret_key else ""
    services = Services(database, REGISTRY, Seal(old))
    await services.create(EDITOR, "producer", FEED)
    await publish_all(settings, database)
    new = generate_key()
    env = {**environment(settings), "NOTIFIER_SECRET_KEY": new, "NOTIFIER_SECRET_KEY_OLD": old}
    status, out, err = await run(settings, "key", "rotate", env=env)
    assert (status, err) == (0, "")
    assert out.startswith(f"1 sealed anew under the key {Seal(new).key_id}, 0 were already; revision 2 is published")
    assert "NOTIFIER_SECRET_KEY_OLD is not needed any more" in out
    last = json.loads((await read_all(settings, "definitions"))[-1].value)
    sealed = last["spec"]["parameters"]["token"]
    assert is_sealed(sealed)
    assert Seal(new).open(sealed, "producer/news/token") == CANARY
    # with the wrong keys
    status, out, err = await run(settings, "key", "rotate", env={**env, "NOTIFIER_SECRET_KEY": generate_key()})
    assert status == 1
    assert "producer/news/token" in err
    assert "not needed" not in out


async def test_without_a_broker_it_is_stored_and_not_said_to_be_done(store_settings: Settings, store: Database) -> None:
    old, new = generate_key(), generate_key()
    await Services(store, REGISTRY, Seal(old)).create(EDITOR, "producer", FEED)
    both = store_settings.model_copy(update={"secret_key": SecretStr(new), "secret_key_old": SecretStr(old)})
    for _ in range(2):  # the second has nothing to seal, and still something to publish
        with pytest.raises(BrokerError) as caught:
            await rotate_command(both)
        assert caught.value.exit_code == 3
    (news,) = await rows(store, DefinitionRow)
    assert Seal(new).open(news.spec["parameters"]["token"], "producer/news/token") == CANARY
