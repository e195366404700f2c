"""Definitions of each kind, plugins that they name, and helpers that store, apply, publish and read them."""

import textwrap
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr
from sqlalchemy import select

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.definitions.apply import apply
from control_api.definitions.documents import load
from control_api.definitions.plan import ApplyPlan, Planner, Progress
from control_api.definitions.relay import Relay
from control_api.definitions.services import Services
from control_api.models import Base
from notifier.database import Database
from notifier.outcome import Kind
from notifier.plugin import Consumer, ConsumerParameters, Filter, FilterParameters, Producer, WorldParameters
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.seal import Seal
from notifier.settings import Settings

EDITOR = Actor("token editor", frozenset({"read", "write"}))


CANARY = "canary-7d1f0c"


class FeedParameters(WorldParameters):
    url: str
    token: SecretStr
    webhook_secret: SecretStr | None = None


class Feed(Producer[FeedParameters]):
    """Pulls a feed."""

    type = "feed"
    Parameters = FeedParameters


class WordsParameters(FilterParameters):
    words: list[str]


class Words(Filter[WordsParameters]):
    """Passes what has a word."""

    type = "words"
    Parameters = WordsParameters


class ChatParameters(ConsumerParameters):
    token: SecretStr
    chat_id: int = 0
    urls: list[SecretStr] = Field(default_factory=list)
    headers: dict[str, SecretStr] = Field(default_factory=dict)


class Chat(Consumer[ChatParameters]):
    """Writes to a chat."""

    type = "chat"
    Parameters = ChatParameters


class ProgramParameters(ConsumerParameters):
    script: str
    network: bool = False
    write: list[str] = Field(default_factory=list)


class Program(Consumer[ProgramParameters]):
    """Runs a script."""

    type = "program"
    Parameters = ProgramParameters


REGISTRY = Registry([Feed, Words, Chat, Program])


USER = {"username": "alice", "additional_info": {"github": {"username": "octocat"}}}


SCRIPT = {"name": "append", "executor": "bash", "content": "cat >> out\n"}


FEED = {"name": "news", "type": "feed", "parameters": {"url": "https://news", "token": CANARY}}


FILTER = {"name": "short", "type": "words", "parameters": {"words": ["now"]}}


CHAT = {"name": "team", "type": "chat", "parameters": {"token": CANARY, "chat_id": -100}}


PROGRAM = {"name": "to-file", "type": "program", "parameters": {"script": "append"}}


CONFIGURATION = {
    "name": "all",
    "users": ["alice"],
    "producers": ["news"],
    "filters": ["short"],
    "consumers": ["team", "to-file"],
    "schedule": {"cron": "*/5 * * * *"},
}


EXAMPLES: dict[Kind, JsonObject] = {
    "user": USER,
    "script": SCRIPT,
    "producer": FEED,
    "filter": FILTER,
    "consumer": CHAT,
    "configuration": CONFIGURATION,
}


async def create_all(services: Services) -> None:
    for kind, document in [*list(EXAMPLES.items())[:-1], ("consumer", PROGRAM), ("configuration", CONFIGURATION)]:
        await services.create(COMMAND_LINE, kind, document)


async def rows(database: Database, table: type[Base]) -> list[Any]:
    async with database.read() as session:
        return list(await session.scalars(select(table)))


async def publish_all(settings: Settings, database: Database) -> None:
    relay = Relay(settings, database)
    assert await relay.publish()
    await relay.close()


def write_files(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_yaml", ".yaml").replace("_sh", ".sh")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))
    return folder


EXAMPLE = """\
    users:
      - username: alice
        working_time: {start: 09:00, end: 18:00, days: [mon, tue], timezone: Europe/Moscow}
        additional_info: {github: {username: octocat}, telegram: {id: 123}}
    scripts:
      - {name: append, executor: bash, file: append.sh}
      - name: inline
        executor: python
        content: |
          print("on: 1")

          print('x')
    producers:
      - {name: news, type: feed, parameters: {url: "https://x", token: "${NEWS_TOKEN}"}}
    filters:
      - {name: short, type: words, parameters: {words: [on, "no", 1e5x, "18:00", "0o17", "null", "1e5"]}}
    consumers:
      - {name: team, type: chat, parameters: {token: "${file:token.txt}", urls: ["${NEWS_TOKEN}", "plain"]}}
      - {name: to-file, type: program, parameters: {script: append, write: [/srv/out]}}
    configurations:
      - name: all
        title: Everything
        users: [alice]
        producers: [news]
        filters: [short]
        consumers: [team, to-file]
        schedule: {cron: "*/10 9-18 * * mon-fri", missed: all}
    """


ENVIRONMENT = {"NEWS_TOKEN": CANARY}


Apply = Callable[..., Awaitable[Any]]


def applying(database: Database, seal: Seal) -> Apply:
    async def run(
        path: Path,
        environment: Mapping[str, str] = ENVIRONMENT,
        progress: Progress | None = None,
        *,
        prune: bool = False,
        dry_run: bool = False,
    ) -> ApplyPlan:
        planner = Planner(registry=REGISTRY, seal=seal, environment=environment, progress=progress)
        return await apply(database, load(path), planner, prune=prune, dry_run=dry_run)

    return run


def large(objects: int, on_leave: str = "false") -> str:
    users = "".join(f"- {{username: u{n}, on_leave: {on_leave}}}\n" for n in range(objects // 2))
    configurations = "".join(f"- {{name: c{n}, users: [u{n}]}}\n" for n in range(objects // 2))
    return f"users:\n{users}configurations:\n{configurations}"


def shape(records: list[Any]) -> list[tuple[str, bool, int, bool]]:
    """(key, is a tombstone, revision, is the last one of its transaction) of records."""
    return [
        (
            record.key.decode(),
            record.value is None,
            int(dict(record.headers)["revision"]),
            dict(record.headers).get("last") == b"1",
        )
        for record in records
    ]
