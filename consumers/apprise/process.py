"""Process: the child process that calls Apprise (`consumers.apprise.apprise_process`), one call at a time.

It is started with the first call, and again after one that took too long and was ended.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from asyncio.subprocess import Process as Child
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from consumers.apprise.answers import CALL_S
from notifier import Retryable

START_S = 60.0  # importing Apprise takes seconds, and a busy machine takes many
_PROGRAM = Path(__file__).with_name("apprise_process.py")
_PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_MAX_ANSWER = 64 * 1024


class Process:
    """Asks the child process, which is started when it is first needed."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = list(allowed)
        self._child: Child | None = None
        self._turn = asyncio.Lock()
        self._limits: dict[str, int] = {}  # URL → characters that its service takes

    async def ask(self, url: str, title: str = "", body: str | None = None, kind: str = "info") -> Mapping[str, Any]:
        """What Apprise makes of a message for one URL; without a `body` of the URL alone. Raises Retryable."""
        fields = {"url": url, "title": title, "body": body, "type": kind, "allowed": self._allowed}
        request = json.dumps(fields).encode()
        async with self._turn:
            started = self._child is None or self._child.returncode is not None
            if self._child is None or started:
                self._child = await _start()
            done = False
            try:
                async with asyncio.timeout(CALL_S + (START_S if started else 0.0)):
                    answer = await _exchange(self._child, request)
                done = True
                return answer
            except TimeoutError:
                return {"error": "timeout", "log": f"it took longer than {CALL_S:g} s, and was ended"}
            except (asyncio.IncompleteReadError, OSError, ValueError):
                text = "the process of Apprise ended; it may have been sent"
                return {"error": "timeout", "log": text}
            finally:
                if not done:
                    await self._end()

    async def limit(self, url: str) -> int:
        """How many characters the service of a URL takes; 0 where nobody knows. Raises Retryable."""
        if url not in self._limits:
            found = (await self.ask(url)).get("limit")
            if not isinstance(found, int) or found <= 0:
                return 0
            self._limits[url] = found
        return self._limits[url]

    async def close(self) -> None:
        """Ends the process."""
        async with self._turn:
            await self._end()

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.returncode is None:
            try:
                child.kill()
            except ProcessLookupError:
                pass  # it has ended, and asyncio does not know yet
        assert child.stdin is not None
        child.stdin.close()
        await child.wait()


async def _start() -> Child:
    # Without our environment, which may hold secrets and proxies.
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if "SSL_CERT_FILE" in env:
        env["REQUESTS_CA_BUNDLE"] = env["SSL_CERT_FILE"]
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(_PROGRAM), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=env
        )
    except OSError as error:
        raise Retryable("server_error", f"no process can be started for Apprise: {error.strerror or error}") from None


async def _exchange(child: Child, request: bytes) -> Mapping[str, Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(len(request).to_bytes(4, "big") + request)
    await child.stdin.drain()
    size = int.from_bytes(await child.stdout.readexactly(4), "big")
    if size > _MAX_ANSWER:
        raise ValueError("the answer is too large")
    answer = json.loads(await child.stdout.readexactly(size))
    if not isinstance(answer, dict):
        raise ValueError("the answer is no object")
    return answer
