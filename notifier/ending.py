"""Ending: tasks that work in the background are ended, also where one loses its cancellation."""

import asyncio
from typing import Any

AGAIN_S = 5.0  # after which a task that goes on is cancelled once more


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancels tasks and waits until they have ended. What they raise is passed over.

    One cancellation is not enough. `asyncio.wait_for`, which aiokafka waits by, loses one that comes in the moment its work ends
    (https://github.com/python/cpython/issues/86296), and the task goes on as if nothing had been said.
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
