"""The Apprise consumer with the real Apprise in its process, and services on loopback that speak HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from consumers.apprise import Apprise, process
from consumers.apprise.answers import result_of, together
from consumers.apprise.apprise_process import Guard
from notifier import Context, Permanent, Result, allowed_addresses, public_address
from notifier.network import Network
from notifier.outcome import Outcome, Reason
from notifier.plugin import secret_fields
from tests.rigs.plugin_world import context_without_scripts, make_delivery
from tests.rigs.repository import ROOT


class Service:
    """Answers the status in the path; keeps what it got."""

    def __init__(self) -> None:
        self.port = 0
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.fails_at = 0  # number of a request that is answered so all the same
        self.better = False  # answers 200 whatever the path says

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self.got.append((path, await request.json()))
        if path.startswith("silent"):
            await asyncio.sleep(60)
        if path.startswith("cut"):
            assert request.transport is not None
            request.transport.close()
        if path.startswith("half"):
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"begun")
            assert request.transport is not None
            request.transport.close()
            return response
        better = self.better and len(self.got) != self.fails_at
        status = 200 if better else int(path[:3]) if path[:3].isdigit() else 200
        headers = {"Retry-After": "7"} if status == 429 else {"Location": "/200"} if status == 302 else {}
        return web.Response(status=status, body=b"x" * 200_000, headers=headers)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service on loopback."""
    service = Service()
    app = web.Application()
    app.router.add_post("/{path}", service.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.port = runner.addresses[0][1]
    yield service
    await runner.cleanup()


@pytest.fixture
def context() -> Context:
    return context_without_scripts("out")


@asynccontextmanager
async def calling(*urls: str) -> AsyncIterator[Apprise]:
    """The consumer, closed at the end."""
    consumer = Apprise(Apprise.Parameters.model_validate({"urls": urls}))
    try:
        yield consumer
    finally:
        await consumer.close()


def make(content: str = "build failed", number: int = 1, **message: Any) -> Any:
    return make_delivery(content, number=number, consumer="out", message=message)


async def test_each_url_is_called_once_and_only_what_failed_again(service: Service, context: Context) -> None:
    base = f"json://user:CANARY-secret@127.0.0.1:{service.port}"
    async with calling(f"{base}/200", f"{base}/429", f"{base}/503") as consumer:
        await consumer.check(context)
        assert service.got == []
        delivery = make(title="CI", severity="error")
        (first,) = await consumer.deliver([delivery], context)
        assert (first.outcome, first.reason, first.retry_after_s) == ("deferred", "rate_limited", 7.0)
        assert "1 of 3 took it" in str(first.detail)
        assert "CANARY" not in str(first.detail)
        service.better = True
        assert await consumer.deliver([delivery], context) == [Result()]
        assert [path for path, _ in service.got] == ["200", "429", "503", "429", "503"]
        assert await consumer.deliver([make(number=2)], context) == [Result()]
    body = service.got[0][1]
    assert (body["title"], body["type"]) == ("CI", "failure")
    assert "build failed" in body["message"]


async def test_a_long_text_goes_in_parts_and_on_with_the_one_that_failed(service: Service, context: Context) -> None:
    text = "👨‍👩‍👧🇩🇪 한국어 தமிழ் " * 3000
    async with calling(f"json://127.0.0.1:{service.port}/429") as consumer:
        service.better = True
        asking = consumer._open(context)
        limit = await asking.limit(f"json://127.0.0.1:{service.port}/429")
        assert await consumer.deliver([make(text)], context) == [Result()]
        parts = [body["message"] for _, body in service.got]
        assert len(parts) > 1
        assert all(
            len(part) <= limit and part.startswith(f"{number}/{len(parts)}") for number, part in enumerate(parts, 1)
        )
        for word in ("👨‍👩‍👧🇩🇪", "한국어", "தமிழ்"):
            assert sum(part.count(word) for part in parts) == 3000
        service.got.clear()
        service.fails_at = 2
        (failed,) = await consumer.deliver([make(text, 2)], context)
        assert failed.reason == "rate_limited"
        assert await consumer.deliver([make(text, 2)], context) == [Result()]
    heads = [body["message"].partition("/")[0] for _, body in service.got]
    assert heads == ["1", "2", *(str(number) for number in range(2, len(parts) + 1))]


async def test_answers_through_the_real_library(service: Service, context: Context) -> None:
    base = f"json://127.0.0.1:{service.port}"
    wanted: dict[str, tuple[Outcome, Reason]] = {
        "400": ("refused", "invalid_content"),
        "401": ("refused", "unauthorized"),
        "403": ("refused", "forbidden"),
        "404": ("refused", "not_found"),
        "408": ("deferred", "server_error"),
        "429": ("deferred", "rate_limited"),
        "500": ("deferred", "server_error"),
        "302": ("deferred", "server_error"),
        "cut": ("unknown", "timeout"),
        "half": ("accepted", "ok"),  # its status came
    }
    async with calling(*(f"{base}/{path}" for path in wanted)) as consumer:
        asking = consumer._open(context)
        for path, (outcome, reason) in wanted.items():
            url = f"{base}/{path}"
            found = result_of(await asking.ask(url, "t", "b"), url)
            assert (path, found.outcome, found.reason) == (path, outcome, reason)
            assert len(str(found.detail)) < 400
    assert [path for path, _ in service.got] == list(wanted)  # and no redirect was followed


async def test_what_leads_elsewhere_is_refused(service: Service, context: Context, tmp_path: Path) -> None:
    """Private addresses in all their forms, files of this machine, and services that Apprise does not know."""
    canary = tmp_path / "canary.json"
    canary.write_text('{"content": "CANARY"}')
    private = [
        f"json://127.0.0.1:{service.port}/200",
        f"json://localhost:{service.port}/200",
        f"json://2130706433:{service.port}/200",
        f"json://[::ffff:127.0.0.1]:{service.port}/200",
        "rsyslog://127.0.0.1",
        "mailto://user:pass@127.0.0.1:2525?from=a@example.org&to=b@example.org",
    ]
    nowhere = replace(context, network=Network())
    async with calling(*private) as consumer:
        asking = consumer._open(nowhere)
        for url in private:
            found = result_of(await asking.ask(url, "t", "b"), url)
            assert (url, found.outcome, found.reason) == (url, "refused", "forbidden")
        for file in (canary, ROOT / "pyproject.toml"):  # settings and data may lie beside the sources
            template = f"discord://123456789012345678/abcdefghijklmnop?template={file}"
            answer = await asking.ask(template, "t", "b")
            assert answer["sent"] is False
            assert "could not be read" in answer["log"]
            assert "CANARY" not in repr(answer)
        unknown = result_of(await asking.ask("nonsense://x", "t", "b"), "nonsense://x")
    assert (unknown.outcome, unknown.reason) == ("refused", "invalid_content")
    assert service.got == []
    async with calling(f"json://localhost:{service.port}/200") as consumer:
        by_name = replace(context, network=Network(allowed=["localhost"]))
        assert await consumer.deliver([make()], by_name) == [Result()]
    async with calling("nonsense://x") as consumer:
        with pytest.raises(Permanent, match="does not know"):
            await consumer.check(context)


async def test_a_call_that_takes_too_long_is_ended_and_the_next_one_goes_on(
    service: Service, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = f"json://127.0.0.1:{service.port}"
    async with calling(f"{base}/silent") as consumer:
        asking = consumer._open(context)
        assert (await asking.ask(f"{base}/200", "t", "b"))["sent"] is True
        with monkeypatch.context() as patch:
            patch.setattr(process, "CALL_S", 1.0)
            (found,) = await consumer.deliver([make()], context)
        assert (found.outcome, found.reason) == ("unknown", "timeout")
        assert (await asking.ask(f"{base}/200", "t", "b"))["sent"] is True


@pytest.fixture
def guard() -> Guard:
    """The hook by itself: one that is installed stays for ever."""
    guard = Guard(public_address, allowed_addresses)
    guard.allow(["10.1.0.0/16"])
    return guard


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, ("192.168.1.1", 80))),
        ("socket.connect", (None, ("10.2.0.1", 80))),
        ("socket.connect", (None, ("64:ff9b::7f00:1", 80, 0, 0))),
        ("socket.connect", (None, ("169.254.169.254", 80))),
        ("socket.connect", (None, ("localhost", 80))),
        ("socket.connect", (None, "/run/docker.sock")),
        ("socket.connect", (None, b"\0abstract")),
        ("socket.sendto", (None, ("127.0.0.1", 514))),
        ("open", ("/etc/passwd", "r", 0)),
        ("open", ("/usr/../etc/passwd", "r", 0)),
        ("open", (b"/proc/self/environ", "r", 0)),
        ("open", ("/usr/lib/new", "w", 0o101)),
        ("subprocess.Popen", ("sh", ["sh"], None, None)),
        ("os.system", (b"true",)),
        ("os.exec", ("sh", ["sh"], None)),
        ("os.remove", ("x", -1)),
    ],
)
def test_the_hook_refuses(guard: Guard, event: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(PermissionError):
        guard(event, arguments)


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, ("10.1.2.3", 80))),
        ("socket.connect", (None, ("93.184.216.34", 443))),
        ("socket.sendmsg", (None, None)),
        ("open", ("/etc/resolv.conf", "r", 0)),
        ("open", (3, "r", 0)),
        ("open", ("/dev/null", "w", 1)),
        ("import", ("json", None, None, None, None)),
    ],
)
def test_the_hook_lets_pass(guard: Guard, event: str, arguments: tuple[Any, ...]) -> None:
    guard(event, arguments)


def test_what_is_refused_everywhere_is_given_up_and_what_may_pass_is_tried_again() -> None:
    gone = Result(outcome="refused", reason="not_found", detail="a")
    busy = Result(outcome="deferred", reason="rate_limited", detail="b", retry_after_s=3.0)
    assert together([Result(), gone]).outcome == "refused"
    both = together([gone, busy])
    assert (both.outcome, both.reason, both.retry_after_s) == ("deferred", "rate_limited", 3.0)


@pytest.mark.parametrize(
    "urls",
    [[], ["no url"], ["gnome://"], ["dbus://"], ["syslog://local0"], ["json://a b"], ["json://x"] * 21, "json://x"],
)
def test_parameters_that_do_not_fit_are_refused(urls: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        Apprise.Parameters.model_validate({"urls": urls})
    assert "urls" in str(refused.value)


def test_urls_are_secrets_and_no_piece_of_them_is_told() -> None:
    assert secret_fields(Apprise.Parameters) == {"urls"}
    consumer = Apprise(Apprise.Parameters.model_validate({"urls": ["slack://CANARY1/CANARY2/#general?token=CANARY3"]}))
    coded = Apprise(Apprise.Parameters.model_validate({"urls": ["json://user:CANARY%40one@example.com"]}))
    assert "CANARY" not in coded.mask("the password CANARY@one is wrong")
    assert "CANARY" not in consumer.mask("CANARY1 and CANARY3 at slack://CANARY1/CANARY2")
