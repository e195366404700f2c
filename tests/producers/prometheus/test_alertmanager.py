"""Debian's Alertmanager sends its webhooks to a running API, with a token as it can send one; and a large group is taken."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_api.access import tokens
from control_api.access.actor import COMMAND_LINE
from control_api.definitions.services import Services
from control_api.migrate import upgrade
from control_api.registry import load_registry
from notifier.database import Database
from notifier.record import now, rfc3339
from notifier.seal import load_seal
from notifier.settings import Settings
from tests.rigs.alerts import alert, free_port, process, program, webhook
from tests.rigs.api_rig import client, is_ready, running
from tests.rigs.kafka_tools import read_all, wait_until
from tests.rigs.problems import pointers, problem

_CONFIGURATION = """
route: {{receiver: both, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: both
    webhook_configs:
      - {{url: "{url}/hooks/alertmanager/each", http_config: {{authorization: {{credentials: {token}}}}}}}
      - {{url: "{url}/hooks/alertmanager/group", http_config: {{basic_auth: {{username: am, password: {token}}}}}}}
"""


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[tuple[str, str]]:
    """The address of an API with two producers of alerts, and a token."""
    await upgrade(settings)
    database = Database(settings)
    services = Services(database, load_registry(), load_seal(settings))
    for name, per in (("each", "alert"), ("group", "group")):
        parameters = {"per": per, "receiver_label": "owner"}
        await services.create(COMMAND_LINE, "producer", {"name": name, "type": "prometheus", "parameters": parameters})
    await database.close()
    token = await tokens.create_token(settings, name="alerts", scopes=["push"])
    async with running(settings, registry=load_registry()) as url:
        async with client(url) as asking:
            await wait_until(lambda: is_ready(asking))
        yield url, token


@contextmanager
def alertmanager(folder: Path, url: str, token: str) -> Iterator[str]:
    """The address of an Alertmanager that sends to the API."""
    (folder / "am.yml").write_text(_CONFIGURATION.format(url=url, token=token))
    port = free_port()
    command = [program("prometheus-alertmanager"), f"--config.file={folder}/am.yml", f"--storage.path={folder}/data"]
    options = [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with process(*command, *options, log=folder / "log"):
        yield f"http://127.0.0.1:{port}"


async def test_alertmanager_tells_of_an_alert_and_of_its_end(
    api: tuple[str, str], settings: Settings, tmp_path: Path
) -> None:
    url, token = api
    labels = {"alertname": "DiskFull", "severity": "critical", "owner": "alice"}
    began = now() - timedelta(minutes=5)

    async def written(count: int) -> list[dict[str, Any]]:
        found = [json.loads(record.value or b"") for record in await read_all(settings, "messages")]
        return found if len(found) >= count else []

    with alertmanager(tmp_path, url, token) as other:
        async with httpx.AsyncClient(base_url=other, timeout=60) as asking:

            async def posted(ends: bool) -> bool:
                times = {"startsAt": rfc3339(began)} | ({"endsAt": rfc3339(now())} if ends else {})
                try:
                    body = [{"labels": labels, "annotations": {"summary": "full"}, **times}]
                    return (await asking.post("/api/v2/alerts", json=body)).status_code == 200
                except httpx.HTTPError:
                    return False  # it starts

            await wait_until(lambda: posted(ends=False))
            await wait_until(lambda: written(2))
            await posted(ends=True)
            found = await wait_until(lambda: written(4))
    each = [one for one in found if one["producer"] == "each"]
    fires, ends = sorted(each, key=lambda one: str(one["title"]))
    assert fires["labels"] == {**labels, "status": "firing"}
    assert ends["labels"] == {**labels, "status": "resolved"}
    assert fires["id"].startswith(f"{fires['fingerprint']}-firing-")
    assert ends["id"].startswith(f"{fires['fingerprint']}-resolved-")
    assert (fires["receiver"], fires["content"]) == ("alice", "full")
    groups = sorted(one["title"] for one in found if one["producer"] == "group")
    assert groups == ["[FIRING:1] DiskFull", "[RESOLVED:1] DiskFull"]
    async with client(url, token) as pushing:
        await _a_large_group(pushing, settings)


async def _a_large_group(pushing: httpx.AsyncClient, settings: Settings) -> None:
    many = [alert(f"A{number}", fingerprint=f"{number:016x}", more="x" * 2_200) for number in range(2_000)]
    body = json.dumps(webhook(*many)).encode()
    assert len(body) > 5_000_000
    answer = await pushing.post("/hooks/alertmanager/each", content=body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["accepted"] == 2_000
    written = {json.loads(record.value or b"")["id"] for record in await read_all(settings, "messages")}
    assert {one["id"] for one in answer.json()["messages"]} <= written
    assert (await pushing.post("/hooks/alertmanager/each", json=webhook())).json()["accepted"] == 0
    assert pointers(await pushing.post("/hooks/alertmanager/each", json={})) == ["/alerts"]
    assert pointers(
        await pushing.post("/hooks/alertmanager/each", content=b"up", headers={"Content-Type": "text/plain"})
    )
    problem(await pushing.post("/hooks/json/each", json={}), 422)
