"""Services: definitions created, read, listed, replaced and patched. On SQLite and on PostgreSQL."""

from typing import Any

import pytest
from sqlalchemy import text

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.services import Services
from control_api.models import ChangeRow
from notifier.database import Database
from notifier.errors import Duplicate, Forbidden, InputError, StaleVersion, StillReferenced, UnknownName
from notifier.outcome import Kind
from notifier.seal import Seal, generate_key
from tests.rigs.definitions_rig import (
    CANARY,
    CHAT,
    EDITOR,
    EXAMPLES,
    FILTER,
    PROGRAM,
    REGISTRY,
    SCRIPT,
    USER,
    create_all,
    rows,
)

pytest_plugins = ["tests.rigs.databases"]


async def test_each_kind_can_be_created_and_read(services: Services) -> None:
    await create_all(services)
    for kind, written in EXAMPLES.items():
        name = str(written.get("name", written.get("username")))
        stored = await services.get(kind, name)
        assert stored.kind == kind
        assert stored.etag == f'"{stored.revision}"'
        assert stored.changed_by == "cli"
        assert stored.created_at == stored.updated_at
        assert stored.created_at.tzinfo is not None
        for key, value in written.items():
            if key not in ("parameters", "schedule"):
                assert stored.document[key] == value
    team = await services.get("consumer", "team")
    assert team.document["parameters"] == {"token": {"set": True}, "chat_id": -100}
    assert (await services.get("configuration", "all")).document["schedule"]["missed"] == "last"


WRONG: list[Any] = [
    ("user", {"username": "a b"}, "/username"),
    ("user", {}, "/username"),
    ("user", {"username": 7}, "/username"),
    ("user", "alice", ""),
    ("user", {"username": "a", "on_leave": "x"}, "/on_leave"),
    ("user", {"username": "a", "color": "red"}, "/color"),
    (
        "user",
        {"username": "a", "working_time": {"start": "09:00", "end": "18:00", "timezone": "Mars"}},
        "/working_time/timezone",
    ),
    ("user", {"username": "a", "additional_info": {"x": {"y": "\x00"}}}, "/additional_info/x/y"),
    ("user", {"username": "a", "additional_info": {"x": {"\x00": 1}}}, "/additional_info/x"),
    ("user", {"username": "a", "additional_info": {"x": {"y": "\ud800"}}}, "/additional_info/x/y"),
    ("user", {"username": "a", "additional_info": {"x": {"y": 10**30}}}, "/additional_info/x/y"),
    ("user", {"username": "a", "additional_info": {"x": {"y": float("nan")}}}, "/additional_info/x/y"),
    ("user", {"username": "a", "additional_info": {"x": {"y": "z" * 900_000}}}, ""),
    ("script", {"name": "s", "content": ""}, "/content"),
    ("script", {"name": "s", "content": "x", "executor": "perl"}, "/executor"),
    ("producer", {"name": "Upper", "type": "feed"}, "/name"),
    ("producer", {"name": "-x", "type": "feed"}, "/name"),
    ("producer", {"name": "x", "type": "nope"}, "/type"),
    ("producer", {"name": "x", "type": "feed", "parameters": {"url": "u"}}, "/parameters/token"),
    ("producer", {"name": "x", "type": "feed", "parameters": {"url": "u", "token": None}}, "/parameters/token"),
    (
        "producer",
        {"name": "x", "type": "feed", "parameters": {"url": "u", "token": {"set": True}}},
        "/parameters/token",
    ),
    ("producer", {"name": "x", "type": "feed", "parameters": {"url": "u", "token": "sealed:a:b"}}, "/parameters/token"),
    ("producer", {"name": "x", "type": "feed", "parameters": {"url": "u", "token": 5}}, "/parameters/token"),
    ("producer", {"name": "x", "type": "feed", "parameters": {"url": "u", "token": "t", "z": 1}}, "/parameters/z"),
    ("filter", {"name": "x", "type": "words", "parameters": {"words": "now"}}, "/parameters/words"),
    ("consumer", {"name": "x" * 64, "type": "chat", "parameters": {"token": "t"}}, "/name"),
    ("consumer", {"name": "..", "type": "chat", "parameters": {"token": "t"}}, "/name"),
    ("consumer", {"name": "x", "type": "program", "parameters": {"script": "none"}}, "/parameters/script"),
    ("consumer", {**CHAT, "name": "x", "fallback": "none"}, "/fallback"),
    ("consumer", {**CHAT, "name": "x", "fallback": "x"}, "/fallback"),
    ("consumer", {**CHAT, "name": "x", "fallback": "No"}, "/fallback"),
    ("consumer", {**CHAT, "name": "x", "unknown": "perhaps"}, "/unknown"),
    ("consumer", {**CHAT, "name": "x", "retry": {"schedule_s": [5, -1]}}, "/retry/schedule_s/1"),
    ("consumer", {**CHAT, "name": "x", "retry": {"schedule_s": [float("inf")]}}, "/retry/schedule_s/0"),
    ("consumer", {**CHAT, "name": "x", "retry": {"schedule_s": [1] * 101}}, "/retry/schedule_s"),
    ("consumer", {**CHAT, "name": "x", "retry": {"schedule_s": [31 * 86400]}}, "/retry/schedule_s/0"),
    ("consumer", {**CHAT, "name": "x", "retry": {"ttl_s": 0}}, "/retry/ttl_s"),
    ("consumer", {**CHAT, "name": "x", "retry": {"ttl_s": 1e300}}, "/retry/ttl_s"),
    ("consumer", {**CHAT, "name": "x", "retry": {"times": 3}}, "/retry/times"),
    ("producer", {"name": "x", "type": "feed", "retry": {}}, "/retry"),
    ("configuration", {"name": "x", "ttl_s": float("nan")}, "/ttl_s"),
    ("configuration", {"name": "x", "users": ["nobody"]}, "/users/0"),
    ("configuration", {"name": "x", "filters": ["one", "two"]}, "/filters/0"),
    ("configuration", {"name": "x", "filters": ["one", "one"]}, "/filters"),
    ("configuration", {"name": "x", "schedule": {"cron": "every day"}}, "/schedule/cron"),
]


@pytest.mark.parametrize(
    ("kind", "document", "pointer"), WRONG, ids=[f"{case[0]} {case[2]} {n}" for n, case in enumerate(WRONG)]
)
async def test_what_does_not_fit_is_refused_and_named(
    offline: Database, kind: Kind, document: Any, pointer: str
) -> None:
    services = Services(offline, REGISTRY, Seal(generate_key()))
    with pytest.raises(InputError) as caught:
        await services.create(COMMAND_LINE, kind, document)
    assert caught.value.errors[0].pointer == pointer
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)
    assert await rows(offline, ChangeRow) == []


async def test_deep_nesting_is_refused(services: Services) -> None:
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(InputError, match="nested more than 64 deep"):
        await services.create(EDITOR, "user", {"username": "a", "additional_info": {"x": {"y": deep}}})


async def test_a_user_is_found_by_any_form_of_the_name(services: Services) -> None:
    stored = await services.create(EDITOR, "user", {"username": "Ju\u0308rgen"})
    assert stored.name == "Jürgen"
    for name in ("Jürgen", "Ju\u0308rgen", "JÜRGEN", "ｊürgen"):
        assert (await services.get("user", name)).name == "Jürgen"
    with pytest.raises(UnknownName):
        await services.get("user", "jurgen")
    with pytest.raises(Duplicate, match="already"):
        await services.create(EDITOR, "user", {"username": "Ju\u0308rgen"})
    with pytest.raises(Duplicate, match="Unicode form"):
        await services.create(EDITOR, "user", {"username": "ju\u0308rgen"})
    team = {"name": "team", "users": ["ju\u0308rgen"], "producers": []}
    assert (await services.create(EDITOR, "configuration", team)).document["users"] == ["Jürgen"]
    with pytest.raises(InputError, match="named twice"):
        await services.patch(EDITOR, "configuration", "team", {"users": ["ju\u0308rgen", "JÜRGEN"]})
    before = (await services.get("configuration", "team")).revision
    assert (await services.patch(EDITOR, "configuration", "team", {"users": ["JÜRGEN"]})).revision == before
    with pytest.raises(StillReferenced):
        await services.delete(EDITOR, "user", "jürgen")
    patched = await services.patch(EDITOR, "user", "JU\u0308RGEN", {"username": "jürgen", "on_leave": True})
    assert (patched.name, patched.document["on_leave"]) == ("Jürgen", True)
    assert [one.name for one in (await services.list("user", q="u\u0308RG")).items] == ["Jürgen"]
    await services.patch(EDITOR, "configuration", "team", {"users": []})
    await services.delete(EDITOR, "user", "ju\u0308rgen")
    assert (await services.list("user")).items == []


async def test_a_name_is_given_once_and_not_changed(services: Services) -> None:
    await services.create(EDITOR, "user", USER)
    with pytest.raises(Duplicate, match="already"):
        await services.create(EDITOR, "user", USER)
    with pytest.raises(Duplicate, match="upper and lower case"):
        await services.create(EDITOR, "user", {"username": "Alice"})
    with pytest.raises(InputError, match="cannot be changed"):
        await services.replace(EDITOR, "user", "alice", {"username": "bob"})
    for name in ("bob", "a\x00b", "../x"):
        with pytest.raises(UnknownName):
            await services.get("user", name)
    with pytest.raises(UnknownName):
        await services.replace(EDITOR, "user", "bob", {})
    with pytest.raises(UnknownName):
        await services.delete(EDITOR, "user", "bob")


async def test_replacing_changes_what_is_stored_and_nothing_is_no_change(services: Services, store: Database) -> None:
    created = await services.create(EDITOR, "user", USER)
    same = await services.replace(EDITOR, "user", "alice", USER)
    assert same.revision == created.revision
    # written out or left to its default is the same
    assert (await services.replace(EDITOR, "user", "alice", {**USER, "on_leave": False})).revision == created.revision
    changed = await services.replace(EDITOR, "user", "alice", {"on_leave": True})
    assert changed.revision > created.revision
    assert changed.document["additional_info"] == {}
    assert changed.created_at == created.created_at
    assert len(await rows(store, ChangeRow)) == 2


async def test_patches_follow_rfc_7396(services: Services) -> None:
    await services.create(EDITOR, "user", {**USER, "working_time": {"start": "09:00", "end": "18:00"}})
    patched = await services.patch(
        EDITOR, "user", "alice", {"additional_info": {"telegram": {"id": 5}}, "on_leave": True}
    )
    assert patched.document["additional_info"] == {"github": {"username": "octocat"}, "telegram": {"id": 5}}
    patched = await services.patch(EDITOR, "user", "alice", {"working_time": None, "additional_info": {"github": None}})
    assert patched.document["working_time"] is None
    assert patched.document["additional_info"] == {"telegram": {"id": 5}}
    wrongs: list[Any] = [[], "x", None]
    for wrong in wrongs:
        with pytest.raises(InputError):
            await services.patch(EDITOR, "user", "alice", wrong)


async def test_a_stale_version_is_refused(services: Services) -> None:
    first = await services.create(EDITOR, "user", USER)
    second = await services.patch(EDITOR, "user", "alice", {"on_leave": True}, expected=first.revision)
    for change in (
        services.patch(EDITOR, "user", "alice", {"on_leave": False}, expected=first.revision),
        services.replace(EDITOR, "user", "alice", {}, expected=first.revision),
        services.delete(EDITOR, "user", "alice", expected=first.revision),
    ):
        with pytest.raises(StaleVersion) as caught:
            await change
        assert caught.value.revision == second.revision
    await services.delete(EDITOR, "user", "alice", expected=second.revision)


async def test_lists_are_pages_by_name(services: Services) -> None:
    for number in range(7):
        await services.create(EDITOR, "user", {"username": f"user{number}"})
    await services.create(EDITOR, "filter", {**FILTER, "name": "percent", "title": "Ünder 50%_off"})
    await services.create(EDITOR, "filter", {**FILTER, "name": "plain"})
    names: list[str] = []
    cursor = None
    while True:
        page = await services.list("user", limit=3, cursor=cursor)
        names += [item.name for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert names == [f"user{number}" for number in range(7)]
    assert [item.name for item in (await services.list("user", q="SER3")).items] == ["user3"]
    assert [item.name for item in (await services.list("filter", q="50%_")).items] == ["percent"]
    assert (await services.list("filter", q="_")).items[0].name == "percent"
    assert (await services.list("producer")).items == []
    for wrong in ({"limit": 0}, {"limit": 501}, {"cursor": "%"}, {"cursor": "AAA"}):
        with pytest.raises(InputError):
            await services.list("user", **wrong)


async def test_scripts_and_their_powers_need_admin(services: Services) -> None:
    with pytest.raises(Forbidden) as caught:
        await services.create(EDITOR, "script", SCRIPT)
    assert caught.value.scope == "admin"
    await services.create(COMMAND_LINE, "script", SCRIPT)
    for patch in ({"content": "x"}, {"title": "x"}):
        with pytest.raises(Forbidden):
            await services.patch(EDITOR, "script", "append", patch)
    await services.create(EDITOR, "consumer", PROGRAM)
    for power in ({"network": True}, {"network": "yes"}, {"write": ["/srv"]}):
        with pytest.raises(Forbidden, match="needs the scope 'admin'"):
            await services.patch(EDITOR, "consumer", "to-file", {"parameters": power})
    await services.patch(COMMAND_LINE, "consumer", "to-file", {"parameters": {"network": True}})
    with pytest.raises(Forbidden):  # another script would inherit the network
        await services.patch(EDITOR, "consumer", "to-file", {"title": "x"})
    await services.patch(EDITOR, "consumer", "to-file", {"parameters": {"network": None}})
    await services.delete(EDITOR, "consumer", "to-file")
    with pytest.raises(Forbidden):
        await services.delete(EDITOR, "script", "append")


async def test_what_an_older_program_stored_can_be_seen_and_mended(services: Services, store: Database) -> None:
    await services.create(EDITOR, "user", USER)
    async with store.write() as session:
        await session.execute(text('UPDATE definition SET spec = \'{"on_leave": "perhaps"}\''))
    assert (await services.get("user", "alice")).document == {"username": "alice", "on_leave": "perhaps"}
    assert len((await services.list("user")).items) == 1
    with pytest.raises(InputError, match="/on_leave"):
        await services.patch(EDITOR, "user", "alice", {"working_time": None})
    await services.patch(EDITOR, "user", "alice", {"on_leave": True})
