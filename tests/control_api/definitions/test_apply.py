"""Apply and export: plans, pruning, and the two commands."""

import textwrap
from pathlib import Path

import pytest
import yaml

from control_api.definitions.apply import apply_command, export, export_command
from control_api.definitions.services import Services
from control_api.models import ChangeRow, DefinitionRow, OutboxRow
from notifier.database import Database
from notifier.errors import InputError
from notifier.seal import Seal
from notifier.settings import Settings
from tests.rigs.definitions_rig import CANARY, EDITOR, EXAMPLE, REGISTRY, Apply, large, rows, shape, write_files
from tests.rigs.kafka_tools import read_all

pytest_plugins = ["tests.rigs.databases"]


async def exported(database: Database) -> str:
    async with database.read() as session:
        return await export(session, REGISTRY)


async def test_files_are_applied_as_one_change(
    store: Database, services: Services, seal: Seal, applied: Apply, example: Path
) -> None:
    progress: list[tuple[int, int]] = []
    plan = await applied(example, progress=lambda done, of: progress.append((done, of)))
    assert progress[-1] == (8, 8)
    assert plan.lines() == [
        "+ user alice", "+ script append", "+ script inline", "+ producer news", "+ filter short", "+ consumer team",
        "+ consumer to-file", "+ configuration all",
    ]  # fmt: skip
    assert plan.summary == "8 created, 0 changed, 0 deleted, 0 unchanged"
    assert len(await rows(store, ChangeRow)) == 1
    assert {row.revision for row in await rows(store, OutboxRow)} == {plan.revision}
    user = (await services.get("user", "alice")).document
    assert user["working_time"] == {
        "start": "09:00",
        "end": "18:00",
        "days": ["mon", "tue"],
        "timezone": "Europe/Moscow",
    }
    assert (await services.get("script", "append")).document["content"] == "cat >> /srv/out\n"
    assert (await services.get("script", "inline")).document["content"] == "print(\"on: 1\")\n\nprint('x')\n"
    words = (await services.get("filter", "short")).document["parameters"]["words"]
    assert words == ["on", "no", "1e5x", "18:00", "0o17", "null", "1e5"]
    team = (await services.get("consumer", "team")).spec["parameters"]
    assert seal.open(team["token"], "consumer/team/token") == CANARY + "-file"
    assert [seal.open(url, "consumer/team/urls") for url in team["urls"]] == [CANARY, "plain"]
    again = await applied(example)
    assert again.summary == "0 created, 0 changed, 0 deleted, 8 unchanged"
    assert again.revision is None
    assert len(await rows(store, ChangeRow)) == 1


async def test_files_in_another_unicode_form_mean_the_same_users(
    services: Services, applied: Apply, tmp_path: Path
) -> None:
    text = "users:\n- {username: NAME}\nconfigurations:\n- {name: all, users: [REFERENCE]}\n"
    for name, reference, summary in (
        ("ju\u0308rgen", "jürgen", "2 created, 0 changed, 0 deleted, 0 unchanged"),
        ("jürgen", "ju\u0308rgen", "0 created, 0 changed, 0 deleted, 2 unchanged"),
        ("JU\u0308RGEN", "Jürgen", "0 created, 0 changed, 0 deleted, 2 unchanged"),
    ):
        write_files(tmp_path, d_yaml=text.replace("NAME", name).replace("REFERENCE", reference))
        assert (await applied(tmp_path, prune=True)).summary == summary
    assert (await services.get("configuration", "all")).document["users"] == ["jürgen"]


@pytest.mark.predecessor("S-77")
async def test_an_export_applied_changes_nothing(
    store: Database, applied: Apply, example: Path, tmp_path: Path
) -> None:
    await applied(example)
    text_ = await exported(store)
    assert CANARY not in text_
    assert "sealed:" not in text_
    assert "  content: |\n" in text_
    (tmp_path / "export.yaml").write_text(text_)
    plan = await applied(tmp_path / "export.yaml", prune=True, environment={})
    assert plan.summary == "0 created, 0 changed, 0 deleted, 8 unchanged"


async def test_an_export_says_whose_each_definition_is(
    store: Database, services: Services, applied: Apply, tmp_path: Path
) -> None:
    text = "users:\n- {username: a, team: red}\ngroups:\n- {name: g, team: red, members: [a]}\nscripts:\n"
    write_files(tmp_path, d_yaml=text + '- {name: s, team: blue, content: "true"}\n')
    await applied(tmp_path)
    text_ = await exported(store)
    assert (text_.count("team: red"), text_.count("team: blue")) == (2, 1)
    write_files(tmp_path, d_yaml=text_)
    assert (await applied(tmp_path, prune=True)).summary == "0 created, 0 changed, 0 deleted, 3 unchanged"
    # Who has no team moves by leaving it out, as any other field goes; the plan says so.
    write_files(tmp_path, d_yaml="users:\n- {username: a}\n")
    assert (await applied(tmp_path)).lines() == ['~ user a: team "red" → (none)']
    assert (
        "team" not in (await services.get("user", "a")).document
        or (await services.get("user", "a")).document["team"] is None
    )


async def test_a_plan_tells_each_field(store: Database, services: Services, applied: Apply, example: Path) -> None:
    await applied(example)
    changed = (
        textwrap.dedent(EXAMPLE)
        .replace("words: [on,", "negate: true, words: [off,")
        .replace("title: Everything", "enabled: false")
        .replace('print("on: 1")', 'print("off")')
        .replace("https://x", "https://y")
        .replace(', urls: ["${NEWS_TOKEN}", "plain"]', ", urls: null")
        .replace("write: [/srv/out]", "")
    )
    (example / "d.yaml").write_text(changed + "  - {name: new, users: [alice]}\n")
    options = {"prune": True, "environment": {"NEWS_TOKEN": "another"}}
    before = await rows(store, ChangeRow)
    plan = await applied(example, dry_run=True, **options)
    assert plan.lines() == [
        "~ script inline: content (4 lines) → (4 lines)",
        '~ producer news: parameters.url "https://x" → "https://y", parameters.token (secret) → (new secret)',
        "~ filter short: parameters.negate (none) → true, "
        'parameters.words ["on", "no", "1e5x", "18:00", "0o17", "null", "1e5"] → '
        '["off", "no", "1e5x", "18:00", "0o17", "null", "1e5"]',
        "~ consumer team: parameters.urls (secret) → (none)",
        '~ consumer to-file: parameters.write ["/srv/out"] → (none)',
        '~ configuration all: enabled (none) → false, title "Everything" → (none)',
        "+ configuration new",
    ]
    assert plan.revision is None
    assert len(await rows(store, ChangeRow)) == len(before)
    assert (await services.get("producer", "news")).document["parameters"]["url"] == "https://x"
    done = await applied(example, **options)
    assert done.lines() == plan.lines()
    assert (await services.get("producer", "news")).document["parameters"]["url"] == "https://y"


async def test_pruning_deletes_what_the_files_do_not_name(
    store: Database, services: Services, applied: Apply, example: Path, tmp_path: Path
) -> None:
    await applied(example)
    await services.create(EDITOR, "configuration", {"name": "by-hand", "users": ["alice"], "filters": ["short"]})
    less = tmp_path / "less.yaml"
    less.write_text("users: [{username: bob}]\n")
    assert (await applied(less)).summary == "1 created, 0 changed, 0 deleted, 0 unchanged"
    plan = await applied(less, prune=True)
    assert plan.summary == "0 created, 0 changed, 9 deleted, 1 unchanged"
    assert [row.name for row in await rows(store, DefinitionRow)] == ["bob"]
    less.write_text("# nothing\n")
    with pytest.raises(InputError, match="would delete everything"):
        await applied(less, prune=True)


async def test_pruning_cannot_leave_a_reference_to_nothing(applied: Apply, example: Path, tmp_path: Path) -> None:
    await applied(example)
    some = tmp_path / "some.yaml"
    some.write_text("configurations: [{name: other, users: [alice]}]\n")
    with pytest.raises(InputError, match=r"some\.yaml:1 configuration other /users/0: there is no user 'alice'"):
        await applied(some, prune=True)


async def test_a_large_apply_and_export(store: Database, applied: Apply, tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(large(1000))
    assert (await applied(path)).summary == "1000 created, 0 changed, 0 deleted, 0 unchanged"
    path.write_text(large(1000, on_leave="true"))
    assert (await applied(path)).summary == "0 created, 500 changed, 0 deleted, 500 unchanged"
    (tmp_path / "export.yaml").write_text(await exported(store))
    assert (await applied(tmp_path / "export.yaml")).summary == "0 created, 0 changed, 0 deleted, 1000 unchanged"
    path.write_text("users: [{username: last}]")
    assert (await applied(path, prune=True)).summary == "1 created, 0 changed, 1000 deleted, 0 unchanged"


REAL = """\
    users: [{username: alice}]
    scripts: [{name: append, executor: bash, content: cat}]
    producers: [{name: ci, type: push}]
    filters: [{name: no-drafts, type: skip_keywords, parameters: {skip_keywords: [draft]}}]
    consumers: [{name: to-file, type: script, parameters: {script: append}}]
    configurations: [{name: builds, users: [alice], producers: [ci], filters: [no-drafts], consumers: [to-file]}]
    """


async def test_the_apply_command_stores_and_publishes(database_settings: Settings, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "f", d_yaml=REAL)
    dry = await apply_command(database_settings, folder, dry_run=True)
    assert dry.lines[-1] == "6 created, 0 changed, 0 deleted, 0 unchanged; dry run: nothing is changed"
    done = await apply_command(database_settings, folder)
    assert done.published
    assert list(done.lines[:-1]) == list(dry.lines[:-1])
    assert done.lines[-1].startswith("6 created, 0 changed, 0 deleted, 0 unchanged; revision ")
    assert done.lines[-1].endswith(" is published")
    records = await read_all(database_settings, "definitions")
    assert len(records) == 6
    assert [last for *_, last in shape(records)] == [False] * 5 + [True]
    again = await apply_command(database_settings, folder)
    assert list(again.lines) == ["0 created, 0 changed, 0 deleted, 6 unchanged; nothing to change"]
    (tmp_path / "export.yaml").write_text(await export_command(database_settings))
    assert (await apply_command(database_settings, tmp_path / "export.yaml", prune=True)).plan.revision is None


async def test_the_apply_command_without_a_broker_stores_and_says_so(
    database_settings: Settings, tmp_path: Path
) -> None:
    folder = write_files(tmp_path / "f", d_yaml=REAL)
    away = database_settings.model_copy(update={"kafka": "127.0.0.1:1"})
    stored = await apply_command(away, folder)
    assert not stored.published
    assert " is stored and will be published later: " in stored.lines[-1]
    done = await apply_command(database_settings, folder)  # the broker is back: what waited goes out
    assert done.published
    assert len(await read_all(database_settings, "definitions")) == 6


async def test_an_export_of_nothing_is_a_file_with_nothing(alone: Settings) -> None:
    text_ = await export_command(alone)
    assert yaml.safe_load(text_) is None
