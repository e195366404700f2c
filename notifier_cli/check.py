"""`notifier check`: whether every part is reachable, and what mends a part that is not."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import click

from notifier.errors import NotifierError
from notifier.kafka import bootstrap_servers, kafka_admin
from notifier.sandbox import Level, detect_sandbox
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.topics import TOPICS
from notifier_cli.environment import read_settings
from notifier_cli.status import read_statuses

LIMIT_S = 10.0  # for each part


PARTS = ("broker", "topics", "database", "secrets", "scripts", "roles", "sources", "operators", "api")


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[PART]...")
def check(parts: tuple[str, ...]) -> int:
    """Ask every part whether it is there, and say what mends it where it is not. Exit 1 when something is missing.

    Parts are broker, topics, database, secrets, scripts, roles, sources, operators and api; by default all. Changes nothing,
    but for the database, which is brought up to date.
    """
    return asyncio.run(_check(read_settings(), parts or PARTS))


async def _check(settings: Settings, parts: Sequence[str]) -> int:
    questions: dict[str, Callable[[Settings], Awaitable[str]]] = {
        "broker": _broker,
        "topics": _topics,
        "database": _database,
        "secrets": _secrets,
        "scripts": _scripts,
        "roles": _roles,
        "sources": _sources,
        "operators": _operators,
        "api": _api,
    }
    failed = 0
    for name, ask in questions.items():
        if name not in parts:
            continue
        try:
            async with asyncio.timeout(LIMIT_S):
                text, good = await ask(settings), True
        except NotifierError as error:
            text, good = str(error), False
        except TimeoutError:
            text, good = f"no answer within {LIMIT_S:.0f} s", False
        failed += not good
        click.echo(f"{click.style('ok  ', fg='green') if good else click.style('FAIL', fg='red')}  {name:<9} {text}")
    return 1 if failed else 0


async def _broker(settings: Settings) -> str:
    async with kafka_admin(settings) as admin:
        cluster = await admin.describe_cluster()
    return f"{bootstrap_servers(settings)} answers ({len(cluster['brokers'])} broker)"


async def _topics(settings: Settings) -> str:
    async with kafka_admin(settings) as admin:
        there = set(await admin.list_topics())
    missing = [topic.name for topic in TOPICS if settings.topic_prefix + topic.name not in there]
    return f"{len(TOPICS) - len(missing)} of {len(TOPICS)} there; the others are made by whoever first needs them"


async def _database(settings: Settings) -> str:
    from control_api.migrate import upgrade
    from notifier.database import database_url

    await upgrade(settings)
    return database_url(settings).render_as_string(hide_password=True)


async def _secrets(settings: Settings) -> str:
    return f"sealed with the key {load_seal(settings).key_id}"


async def _scripts(settings: Settings) -> str:
    sandbox = await asyncio.to_thread(detect_sandbox, settings)
    if sandbox.level is Level.none:
        raise NotifierError(sandbox.explanation)
    return sandbox.explanation


async def _roles(settings: Settings) -> str:
    statuses = await read_statuses(settings)
    found, paused = statuses.present(), statuses.paused()
    stopped = [f"the {one.role} cannot go on: {one.detail}" for one in found if one.state == "stopped"]
    if stopped:
        raise NotifierError("; ".join(stopped))
    unusable = {name for one in found for name in one.problems}
    said = ", ".join(dict.fromkeys(one.role or "" for one in found)) or "none has reported within the last minute"
    if unusable:
        said += f"; they cannot use {', '.join(sorted(unusable))} (`notifier status`)"
    if paused:
        said += f"; paused: {', '.join(one.name for one in paused)} (`notifier status`)"
    return said


async def _sources(settings: Settings) -> str:
    """Whether the sources of producers answered the last time, and are not silent."""
    from control_api.statuses import source_in_words

    known = (await read_statuses(settings)).sources()
    wrong = [f"the producer {one.name}: {source_in_words(one)}" for one in known if one.state in ("failing", "silent")]
    if wrong:
        raise NotifierError("; ".join(wrong))
    return "no source is failing or silent"


async def _operators(settings: Settings) -> str:
    """Whether the consumer that is told of paused consumers can be."""
    from control_api.definitions.catalogs import Catalogs
    from control_api.registry import load_registry
    from notifier.database import Database
    from streams.delivery.notices import problem_of

    if settings.operators_consumer is None:
        return "nobody is told of paused consumers (NOTIFIER_OPERATORS_CONSUMER)"
    database = Database(settings)
    try:
        _, catalog = await Catalogs(database, load_registry()).now()
    finally:
        await database.close()
    problem = problem_of(settings.operators_consumer, catalog)
    if problem is not None:
        raise NotifierError(problem)
    return f"the consumer {settings.operators_consumer} is told of paused consumers"


async def _api(settings: Settings) -> str:
    url = f"http://{settings.http_host}:{settings.http_port}/health/ready"
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            if answer.status == 200:
                return f"{url} says it is ready"
            raise NotifierError(f"{url} says {answer.status}: {(await answer.text())[:300]}")
    except aiohttp.ClientError:
        raise NotifierError(f"nothing answers at {url}: start it with `notifier up` or `notifier api`") from None
