"""How fast delivery is where a service sets the pace, and where none does: a real delivery worker on a real broker.

`python -m bench pace [--seconds 20] [--parts telegram,script,hanging]`. Deliveries lie on their topics before the worker starts.

telegram  texts to 300 people and two groups by one bot; a Bot API on loopback enforces 30 a second over all, 3 in 3 seconds to a
          chat and 20 in a minute to a group, over sliding windows, and counts what it had to refuse
script    one script consumer that takes 500 at once
hanging   five chats of one bot, of which one does not answer: how long the texts to the four others take, beside the same
          without the fifth's silence; in turn, so that a busy computer is busy for both
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from aiokafka.errors import KafkaError

from bench.worker import Worker
from notifier.delivery import Delivery
from notifier.kafka import ensure_topics, kafka_producer
from notifier.registry import close_secrets
from notifier.seal import generate_key, load_seal
from notifier.settings import Settings, load_settings
from notifier.topics import DELIVERIES, deliveries
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port
from tests.rigs.bot_api import GROUP, OK, TOKEN, BotApi, BotLimits, make, serving
from tests.rigs.delivery_rig import committed, define, send

PARTS = ("telegram", "script", "hanging")
PEOPLE = 300
BATCH = 500
SCRIPTED = 60_000  # deliveries
LIMIT_S = 300.0
ROUND_S = 0.1  # between two texts to each chat
QUICK = {"per_second": 1000, "chat_per_second": 1000, "group_per_minute": 10_000}


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints rates, refusals and latencies."""
    parser = argparse.ArgumentParser(prog="python -m bench pace", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args(list(arguments))
    with tempfile.TemporaryDirectory(prefix="notifier-bench-") as name:
        folder = Path(name).resolve()
        broker = EmbeddedBroker(load_settings(env_file=None, data_dir=folder / "broker", kafka_port=free_port()))
        address = await asyncio.to_thread(broker.start, die_with_parent=True)

        def settings(part: str, **given: Any) -> Settings:
            data = folder / part
            data.mkdir()
            given |= {"kafka": address, "topic_prefix": f"{part}.", "data_dir": data, "secret_key": generate_key()}
            return load_settings(env_file=None, **given)

        try:
            for part in options.parts.split(","):
                await {"telegram": _telegram, "script": _script, "hanging": _hanging}[part](settings, options.seconds)
        finally:
            await asyncio.to_thread(broker.stop)


async def _telegram(settings_of: Callable[..., Settings], seconds: int) -> None:
    async with serving() as api:
        settings = settings_of("telegram", telegram_api=api.url)
        api.limits = BotLimits()
        at: list[float] = []
        api.answers = _Each(api, at)
        groups = [f"group-{n}" for n in range(2)]
        await _define_bot(settings, "direct", "recipient", partitions=1)
        for n, name in enumerate(groups):
            await _define_bot(settings, name, GROUP - n, partitions=1)
        await _define_all(settings, ["direct", *groups], PEOPLE)
        made = [_to(n % PEOPLE, n) for n in range(30 * (seconds + 10))]
        made += [make(f"text {n}", n, consumer=name, recipient="u0") for name in groups for n in range(100)]
        await send(settings, made)
        async with _worker(settings) as worker:
            await _until(lambda: len(at) > 30, worker)
            began = at[0]
            await _until(lambda: time.monotonic() > began + seconds + 2, worker)
            cpu_s = worker.usage().cpu_s
        within = [when for when in at if began + 1 <= when < began + 1 + seconds]
        print(
            f"telegram: {len(within) / seconds:.2f} texts a second over {seconds} s, {api.limits.refused} answers 429,"
            f" {cpu_s / len(at) * 1000:.1f} ms of CPU a text (with the start of the worker)"
        )


class _Each(list[Any]):
    """The answers of a Bot API that notes when it is called, and enforces its limits."""

    def __init__(self, api: BotApi, at: list[float], hanging: str = "") -> None:
        super().__init__([None])
        self._api, self._at, self._hanging = api, at, hanging
        self.taken: dict[tuple[str, str], float] = {}  # by chat and text, when

    def pop(self, index: Any = 0) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            form = await request.post()
            chat = str(form["chat_id"])
            if chat == self._hanging:
                await asyncio.sleep(LIMIT_S)
            wait_s = 0.0 if self._api.limits is None else self._api.limits.wait_s(chat, time.monotonic())
            if wait_s:
                return web.json_response(
                    {"ok": False, "error_code": 429, "parameters": {"retry_after": int(wait_s) + 1}}, status=429
                )
            self._at.append(time.monotonic())
            self.taken[chat, str(form["text"]).partition(": ")[2]] = self._at[-1]
            return await OK(request)

        return answer


async def _script(settings_of: Callable[..., Settings], seconds: int) -> None:
    settings = settings_of("script")
    await ensure_topics(settings, [deliveries("bulk", 4)])
    await define(settings, "take", {"executor": "bash", "content": "cat > /dev/null"}, kind="script")
    parameters = {"script": "take", "batch": BATCH}
    await define(settings, "bulk", {"type": "script", "parameters": parameters})
    await _define_all(settings, ["bulk"], 1)
    await send(settings, [make(f"text {n}", n, consumer="bulk", recipient="u0") for n in range(SCRIPTED)])
    done: list[tuple[float, int]] = []
    async with _worker(settings) as worker:
        cpu_s = 0.0
        deadline = time.monotonic() + LIMIT_S
        while (not done or done[-1][1] < SCRIPTED) and time.monotonic() < deadline:
            count = await _committed(settings)
            if count and (not done or count > done[-1][1]):
                done.append((time.monotonic(), count))
                cpu_s = cpu_s or worker.usage().cpu_s
            await asyncio.sleep(0.05)
        cpu_s = worker.usage().cpu_s - cpu_s
    (first_at, first), (last_at, last) = done[0], done[-1]
    print(
        f"script: {(last - first) / (last_at - first_at):,.0f} deliveries a second in batches of {BATCH},"
        f" {cpu_s / (last - first) * 1e6:.0f} µs of CPU each, the scripts' own included"
    )


async def _committed(settings: Settings) -> int:
    try:
        return sum((await committed(settings, "bulk")).values())
    except KafkaError:  # there is no group yet
        return 0


async def _hanging(settings_of: Callable[..., Settings], seconds: int) -> None:
    found: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(2):
        for hangs in (False, True):
            found[hangs] += await _latencies(settings_of, f"hanging-{turn}-{hangs}".lower(), hangs, seconds / 2)
    p95 = {hangs: statistics.quantiles(values, n=20)[-1] * 1000 for hangs, values in found.items()}
    print(
        f"hanging: p95 of four chats {p95[False]:.0f} ms, {p95[True]:.0f} ms while the fifth does not answer"
        f" (× {p95[True] / p95[False]:.2f}), of {len(found[True])} texts"
    )


async def _latencies(settings_of: Callable[..., Settings], part: str, hangs: bool, seconds: float) -> list[float]:
    """How long texts to the first four of five chats took, from the write to the service."""
    async with serving() as api:
        settings = settings_of(part, telegram_api=api.url)
        at: list[float] = []
        api.answers = answers = _Each(api, at, hanging="104" if hangs else "")
        await _define_bot(settings, "direct", "recipient", partitions=1, **QUICK)
        await _define_all(settings, ["direct"], 5)
        await send(settings, [_to(n % 4, n) for n in range(40)])
        async with _worker(settings) as worker:
            await _until(lambda: len(at) == 40, worker)  # warm
            sent: dict[str, float] = {}
            number = 40
            deadline = time.monotonic() + seconds
            async with kafka_producer(settings, linger_ms=0) as producer:
                while time.monotonic() < deadline:
                    for chat in (4, 0, 1, 2, 3):
                        number += 1
                        sent[f"text {number}"] = time.monotonic()
                        made = _to(chat, number)
                        await producer.send_and_wait(
                            settings.topic_prefix + DELIVERIES + made.consumer, made.encode(), key=made.lane.encode()
                        )
                    await asyncio.sleep(ROUND_S)
            wanted = 40 + (len(sent) * 4 // 5 if hangs else len(sent))
            await _until(lambda: len(at) >= wanted, worker)
            worker.kill()  # it would wait for the chat that does not answer
        return [when - sent[text] for (chat, text), when in answers.taken.items() if chat != "104" and text in sent]


def _to(chat: int, number: int) -> Delivery:
    made = make(f"text {number}", number, consumer="direct", recipient=f"u{chat}", address=f"{100 + chat}")
    return msgspec.structs.replace(made, lane=made.address)  # as the router has it: a chat waits for no other


async def _define_bot(settings: Settings, name: str, chat_id: int | str, *, partitions: int, **more: Any) -> None:
    sealed = close_secrets(load_seal(settings), "consumer", name, {"bot_token": TOKEN}, frozenset({"bot_token"}))
    await ensure_topics(settings, [deliveries(name, partitions)])
    await define(settings, name, {"type": "telegram", "parameters": {"chat_id": chat_id, **more, **sealed}})


async def _define_all(settings: Settings, consumers: Sequence[str], people: int) -> None:
    for n in range(people):
        info = {"telegram": {"username": f"u{n}", "id": 100 + n}}
        await define(settings, f"u{n}", {"additional_info": info}, kind="user")
    await define(settings, "all", {"consumers": list(consumers)}, kind="configuration", revision=2)


@asynccontextmanager
async def _worker(settings: Settings) -> AsyncIterator[Worker]:
    worker = Worker(("notifier", "delivery"), settings, settings.data_dir / "delivery.log")
    try:
        yield worker
        await asyncio.to_thread(worker.stop)
    finally:
        worker.kill()


async def _until(met: Callable[[], bool], worker: Worker) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not met():
        worker.usage()  # raises where it has ended
        if time.monotonic() > deadline:
            raise SystemExit(f"the worker does not get on:\n{worker.log()}")
        await asyncio.sleep(0.02)
