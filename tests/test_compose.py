"""docker-compose.yml as far as it goes without a container engine: every command, setting and path in it exists here."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from notifier.settings import PREFIX, Settings, variable
from notifier_cli.commands import COMMANDS
from streams.broker.templates import SERVER_PROPERTIES
from tests.rigs.repository import ROOT
from tests.rigs.roles import run

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == "notifier"}
KNOWN = {variable(field) for field in Settings.model_fields}


@pytest.mark.parametrize("name", OURS)
def test_each_service_is_a_command_with_settings_that_exist(name: str) -> None:
    service = OURS[name]
    assert service["command"] == [name]
    assert name in COMMANDS
    assert {key for key in service["environment"] if key.startswith(PREFIX)} <= KNOWN
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]


def test_every_role_is_there() -> None:
    from notifier_cli.supervisor import ROLES

    assert set(ROLES) | {"migrate"} == set(OURS)


def test_only_the_api_is_reachable_and_only_from_this_machine() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "api": ["127.0.0.1:8000:8000"]
    }


def test_kafka_is_the_embedded_one_in_a_container() -> None:
    """The same version, and the same value wherever both say one; only addresses and folders are its own."""
    embedded = dict(line.split("=", 1) for line in SERVER_PROPERTIES.splitlines() if "=" in line and line[0] != "#")
    given = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in SERVICES["kafka"]["environment"].items()
    }
    own = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}
    assert own <= given.keys() <= embedded.keys()
    assert {name: given[name] for name in given.keys() - own} == {name: embedded[name] for name in given.keys() - own}
    version = SERVICES["kafka"]["image"].removeprefix("apache/kafka:")
    assert f"kafka-clients:{version}\n" in (ROOT / "streams" / "broker" / "jars.lock").read_text()


def test_what_has_to_be_set_is_in_the_example() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / ".env.example").read_text()
    needed = {part.split(":?")[0] for part in text.split("${")[1:]}
    assert needed == {line.partition("=")[0] for line in example.splitlines() if line and not line.startswith("#")}


def test_the_image_copies_what_there_is_and_is_not_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line
    assert "USER notifier" in lines
    copied = {line.split()[1] for line in lines if line.startswith("COPY ")}
    assert {"notifier", "notifier_cli", "producers", "filters", "consumers", "streams", "control_api"} <= copied


def test_the_health_checks_are_commands_that_work(settings: Settings) -> None:
    for service in OURS.values():
        check = service["healthcheck"]
        if "test" in check:
            assert check["test"][:3] == ["CMD", "notifier", "check"]


@pytest.mark.predecessor("S-57")
async def test_migrate_and_the_broker_check_run_by_hand(settings: Settings) -> None:
    status, _, err = await run(settings, "migrate")
    assert status == 0, err
    assert "is up to date" in err
    status, out, _ = await run(settings, "check", "broker")
    assert status == 0, out
    assert out.startswith("ok")


def test_the_client_reads_the_file(tmp_path: Path) -> None:
    """Where Docker Compose is installed, it must find nothing wrong; it needs no engine for that."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        if subprocess.run([*command, "version"], capture_output=True, timeout=120).returncode != 0:
            continue
        env = tmp_path / "env"
        env.write_text("NOTIFIER_SECRET_KEY=x\nNOTIFIER_ADMIN_PASSWORD=x\nPOSTGRES_PASSWORD=x\n")
        found = subprocess.run(
            [*command, "--env-file", str(env), "-f", str(ROOT / "docker-compose.yml"), "config"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert found.returncode == 0, found.stderr
        return
