"""An API on a real server, with accounts, sessions and clients at addresses of their own."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from control_api.access import accounts, tokens
from control_api.access.actor import COMMAND_LINE, Role
from control_api.access.sessions import COOKIE, open_session
from control_api.app import create_app
from control_api.serve import listen, serve
from notifier.database import Database
from notifier.settings import Settings
from tests.rigs.kafka_tools import wait_until

PASSWORD = "correct horse battery"
JSON = {"Content-Type": "application/json"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}


@dataclass
class Console:
    """An API without a broker, on a real server."""

    url: str
    database: Database
    tokens: dict[str, str]
    _numbers: "itertools.count[int]"

    async def account(self, role: Role = "viewer") -> str:
        """The name of a new account, so that no test uses up another's tries."""
        name = f"person-{next(self._numbers)}"
        async with self.database.write() as session:
            await accounts.add(session, COMMAND_LINE, name, PASSWORD, role)
        return name

    async def session(self, role: Role = "viewer") -> str:
        """What the cookie of a new account's session holds."""
        account = await accounts.verify(self.database, await self.account(role), PASSWORD)
        assert account is not None
        ticket = await open_session(self.database, account)
        assert ticket is not None
        return ticket

    def client(self, ticket: str | None = None, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
        """A client at an address of its own, so that it has tries of its own."""
        number = next(self._numbers)
        address = f"127.0.{1 + number // 250}.{1 + number % 250}"
        # No HTTPS is asked for, and to read its authorities takes longer than a request.
        transport = httpx.AsyncHTTPTransport(local_address=address, verify=False)
        cookies = {} if ticket is None else {COOKIE: ticket}
        own = {"Origin": self.url, **(headers or {})}
        return httpx.AsyncClient(base_url=self.url, transport=transport, cookies=cookies, headers=own, timeout=120)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Console]:
    """The API on a free port, in this event loop."""
    listener = listen("127.0.0.1", 0)
    app = create_app(settings)
    server = serve(app, listener)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await wait_until(lambda: server.started or task.done())
        made = {scope: await tokens.create_token(settings, name=scope, scopes=[scope]) for scope in ("read", "admin")}
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Console(url, app.state.parts.database, made, itertools.count(1))
    finally:
        server.should_exit = True
        await task
        listener.close()
