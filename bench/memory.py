"""The router's memory after many messages of the broad world, by default with 10,000 configurations; sampled on the way.

The messages come in parts, each of which is routed to its end before the next is written, so that what waits says nothing. The
deliveries of the first are checked one by one, those of the others are counted.
"""

from pathlib import Path

from bench.progress import named, say
from bench.report import Row
from bench.trial import CONTENDERS, MIB, ROUTER, trial
from bench.worker import Failed
from bench.worlds import BROAD, make_world

FIRST_MESSAGES = 600
PART = 250_000  # messages


async def measure_memory(configurations: int, count: int, kafka: str, folder: Path) -> list[Row]:
    """A row of samples: after how many messages, how much."""
    world = make_world(BROAD, configurations)
    messages = world.messages()
    label = f"{CONTENDERS[ROUTER]}, {world.name}, N={configurations:,}, memory"
    samples: list[Row] = []
    made = trial(ROUTER, world.rule, messages, kafka, folder)
    with named(label):
        async with made as one, one.workers() as workers:
            await one.warm_up(FIRST_MESSAGES, workers)
            await one.check()
            (worker,) = workers
            while one.written < count:
                await one.write(min(PART, count - one.written))
                await one.finish(workers)
                messages.forget(one.written)
                pss = worker.pss()
                samples.append(
                    {
                        "messages": one.written,
                        "rss_mib": round(worker.usage().rss / MIB, 1),
                        "pss_mib": None if pss is None else round(pss / MIB, 1),
                    }
                )
                say(f"{label}: {samples[-1]['rss_mib']:.0f} MiB after {one.written:,} messages")
            if (found := await one.outputs()) != one.delivered:
                raise Failed(f"{found} deliveries instead of {one.delivered}")
    return [
        {
            "world": world.name,
            "contender": ROUTER,
            "configurations": configurations,
            "users": len(world.rule.users),
            "producers": len(world.rule.producers),
            "samples": samples,
        }
    ]
