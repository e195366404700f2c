"""Rotation: everything sealed in the database is sealed anew under the current key, so that the key before it may go.

Sealed are the secret parameters of definitions, and the answers that an Idempotency-Key repeats. Definitions are one database
transaction and, where they change, one revision. Answers may be many; they follow in batches, so that other writers wait briefly.
A rotation that was killed can be repeated: it does what is left. What neither key opens stays as it is and is named.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import bindparam, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.definitions.changes import RESEAL, Edit, as_kind, lock, write_change
from control_api.definitions.relay import publish_pending
from control_api.definitions.secret_parameters import secrets_of
from control_api.definitions.spec import Reference, Spec
from control_api.migrate import upgraded
from control_api.models import DefinitionRow, IdempotencyRow, OutboxRow, ReferenceRow
from control_api.registry import load_registry
from notifier.database import Database
from notifier.errors import SecretError
from notifier.record import JsonObject
from notifier.registry import Registry, map_secret
from notifier.seal import Seal, is_sealed, load_seal
from notifier.settings import Settings

_BATCH = 1_000  # answers in one transaction
_TABLE = IdempotencyRow.__table__.c
_KEEP = (  # where the answer is still the one that was read: it may have ended its day, or been given anew, meanwhile
    update(IdempotencyRow)
    .where(_TABLE.actor == bindparam("_actor"), _TABLE.key == bindparam("_key"), _TABLE.body == bindparam("_before"))
    .values(body=bindparam("_after"))
)


@dataclass(kw_only=True)
class Rotation:
    """What a rotation did."""

    resealed: int = 0  # secrets and answers that are under the current key now
    current: int = 0  # those that were already
    definitions: int = 0  # that hold a resealed secret
    closed: list[str] = field(default_factory=list)  # what could not be opened, a sentence each
    revision: int | None = None  # the change that did it; None: no definition changed


async def rotate(database: Database, registry: Registry, seal: Seal, actor: Actor = COMMAND_LINE) -> Rotation:
    """Seals everything anew that is not under the current key. Stored when it returns, not yet published."""
    done = Rotation()
    async with database.write() as session:
        await lock(session)
        edits = await _edits(session, registry, seal, done)
        if edits:
            done.definitions = len(edits)
            summary = f"key rotate: {len(edits)} definitions under the key {seal.key_id}"
            done.revision = await write_change(session, actor, RESEAL, summary, edits, registry)
    await _reseal_answers(database, seal, done)
    return done


async def rotate_command(settings: Settings) -> Rotation:
    """`notifier key rotate`: rotates, and returns once the definitions are published.

    Raises SecretError, DatabaseError, and BrokerError where they cannot be published now; they are stored then.
    """
    seal = load_seal(settings)
    async with upgraded(settings) as database:
        done = await rotate(database, load_registry(), seal)
        async with database.read() as session:
            newest = await session.scalar(select(func.max(OutboxRow.revision)))
        if newest is not None:  # also what an earlier rotation left there
            await publish_pending(settings, database, newest)
    return done


async def _edits(session: AsyncSession, registry: Registry, seal: Seal, done: Rotation) -> list[Edit]:
    """The definitions that change. Their fields are not checked again: a type may be of a plugin that is not installed."""
    columns = (
        DefinitionRow.kind,
        DefinitionRow.name,
        DefinitionRow.title,
        DefinitionRow.spec,
        DefinitionRow.partitions,
    )
    references = await _references(session)
    found: list[Edit] = []
    for row in (await session.execute(select(*columns).order_by(DefinitionRow.kind, DefinitionRow.name))).all():
        kind = as_kind(row.kind)
        parameters: JsonObject = {}
        for name in sorted(secrets_of(kind, row.spec, registry)):
            before = row.spec["parameters"][name]
            after = map_secret(before, _resealing(seal, f"{kind}/{row.name}/{name}", done))
            if after != before:
                parameters[name] = after
        if parameters:
            value = {**row.spec, "parameters": {**row.spec["parameters"], **parameters}}
            spec = Spec(
                value=value,
                title=row.title,
                references=references.get((row.kind, row.name), ()),
                partitions=row.partitions,
            )
            found.append(Edit(kind=kind, name=row.name, before=row.spec, after=spec))
    return found


async def _references(session: AsyncSession) -> Mapping[tuple[str, str], tuple[Reference, ...]]:
    """What each definition refers to, by kind and name."""
    found: dict[tuple[str, str], tuple[Reference, ...]] = {}
    query = select(ReferenceRow.kind, ReferenceRow.name, ReferenceRow.to_kind, ReferenceRow.to_name)
    for kind, name, to_kind, to_name in await session.execute(query.where(ReferenceRow.kind != "configuration")):
        found[kind, name] = (*found.get((kind, name), ()), Reference(kind=as_kind(to_kind), name=to_name, pointer=""))
    return found


async def _reseal_answers(database: Database, seal: Seal, done: Rotation) -> None:
    key = IdempotencyRow.actor, IdempotencyRow.key
    query = select(*key, IdempotencyRow.body).where(IdempotencyRow.body.is_not(None)).order_by(*key).limit(_BATCH)
    last: tuple[str, str] = ("", "")
    while True:
        async with database.read() as session:
            rows = (await session.execute(query.where(tuple_(*key) > last))).all()
        if not rows:
            return
        last = rows[-1].actor, rows[-1].key
        sealed = await asyncio.to_thread(_resealed, [(row.actor, row.key, row.body) for row in rows], seal, done)
        if sealed:
            async with database.write() as session:
                await (await session.connection()).execute(_KEEP, sealed)


def _resealed(rows: Sequence[tuple[str, str, str]], seal: Seal, done: Rotation) -> list[JsonObject]:
    """Parameters of `_KEEP` for the answers that change."""
    found: list[JsonObject] = []
    for actor, key, body in rows:
        after = _resealing(seal, IdempotencyRow.place(actor, key), done)(body)
        if after != body:
            found.append({"_actor": actor, "_key": key, "_before": body, "_after": after})
    return found


def _resealing(seal: Seal, place: str, done: Rotation) -> Callable[[str], str]:
    """What seals one text of that place anew, and counts it."""

    def reseal(text: str) -> str:
        try:
            # A text in clear was stored before its field became a secret.
            opened = seal.open(text, place) if is_sealed(text) else text
        except SecretError as error:
            if str(error) not in done.closed:
                done.closed.append(str(error))
            return text
        if is_sealed(text) and seal.has_closed(text):
            done.current += 1
            return text
        done.resealed += 1
        return seal.close(opened, place)

    return reseal
