"""The README's five minutes, as a newcomer types them: `up` in one terminal, the commands in another."""

import asyncio
import json
import os
import re  # for our own constant pattern
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from notifier.settings import Settings
from streams.broker.ports import free_port
from tests.rigs.kafka_tools import wait_until
from tests.rigs.repository import ROOT
from tests.rigs.roles import environment, start_role

README = ROOT / "README.md"


def _typed() -> list[str]:
    """The blocks of commands that the README says are tested: the tour by YAML and REST, that by kcat, `explain`, and GraphQL."""
    return re.findall(r"<!-- tested: tests/test_readme\.py -->\n```sh\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's tour calls curl")
@pytest.mark.skipif(shutil.which("kcat") is None, reason="the README's tour calls kcat")
@pytest.mark.slow
async def test_the_tour_of_the_readme_works_as_written(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    inbox = tmp_path_factory.mktemp("inbox")
    settings = settings.model_copy(update={"http_port": free_port(), "kafka_port": free_port()})
    env = environment(settings)
    for name in ("NOTIFIER_KAFKA", "NOTIFIER_SECRET_KEY", "NOTIFIER_TOPIC_PREFIX"):
        del env[name]
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    replaced = {
        "/tmp/notifier-inbox": str(inbox),
        "127.0.0.1:8000": f"127.0.0.1:{settings.http_port}",
        "127.0.0.1:19092": f"127.0.0.1:{settings.kafka_port}",
    }
    tour, kcat, why, request = (_with(block, replaced) for block in _typed())
    # The last line looks at what arrived; a machine is faster than a person.
    before, cat, after = tour.rpartition("cat /")
    up = await start_role(settings, "up", env=env)
    try:
        await wait_until(lambda: "Notifier is up" in up.output(), 120, up.output)
        typed = await _type(f"set -eu\n{before}\n{why}\n{request}", settings.data_dir, env)
        assert '"accepted":1' in typed, typed
        assert '"next_cursor"' in typed, typed
        assert '"users":[{"username":"alice"}]' in typed.replace(" ", ""), typed
        (promised,) = re.findall(r"alice would not get it: .*", README.read_text())
        assert promised in typed, typed
        arrived = inbox / "messages.jsonl"
        await wait_until(arrived.exists, 120, up.output)
        shown = await _type(cat + after, settings.data_dir, env)
        (item,) = json.loads(shown)
        assert (item["receiver"], item["content"]) == ("alice", "build failed")
        write, read = kcat.splitlines()
        await _type(write, settings.data_dir, env)
        await wait_until(lambda: "deployed" in arrived.read_text(), 120, up.output)

        async def recorded() -> bool:
            lines = (await _type(read, settings.data_dir, env)).splitlines()
            attempts = [json.loads(line) for line in lines]
            return [one["outcome"] for one in attempts if "counters" not in one] == ["accepted"] * 2

        await wait_until(recorded)
    finally:
        assert await up.stop() == 0


def _with(text: str, replaced: Mapping[str, str]) -> str:
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text


async def _type(commands: str, folder: Path, env: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        "bash",
        cwd=folder,
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(commands.encode()), 120)
    assert process.returncode == 0, out.decode()
    return out.decode()
