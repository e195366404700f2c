"""`notifier apply`: its plan in colour, and the status of a dry run."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from notifier.errors import DatabaseError
from notifier.settings import Settings
from notifier_cli.commands import cli
from tests.rigs.roles import environment

pytest_plugins = ["tests.rigs.databases"]


def applied(settings: Settings, text: str, *options: str, **env: str) -> Result:
    file = settings.data_dir / "d.yaml"
    file.write_text(text)
    command = ["apply", "-f", str(file), *options]
    return CliRunner().invoke(cli, command, env={**environment(settings), **env}, color=True, standalone_mode=False)


@pytest.fixture(autouse=True)
def _own(own_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_dry_run_shows_colours_and_ends_with_3_when_something_would_change(alone: Settings, tmp_path: Path) -> None:
    first = "users: [{username: a}, {username: b}]\n"
    planned = applied(alone, first, "--dry-run")
    assert planned.return_value == 3, planned.output
    assert "\x1b[32m+ user a\x1b[0m\n" in planned.stdout
    assert planned.stdout.endswith("2 created, 0 changed, 0 deleted, 0 unchanged; dry run: nothing is changed\n")
    assert not applied(alone, first).return_value
    assert not applied(alone, first, "--dry-run").return_value
    changed = applied(alone, "users: [{username: a, on_leave: true}]\n", "--prune", "--dry-run")
    assert changed.return_value == 3
    assert "\x1b[33m~ user a\x1b[0m: on_leave \x1b[31m(none)\x1b[0m → \x1b[32mtrue\x1b[0m\n" in changed.stdout
    assert "\x1b[31m- user b\x1b[0m\n" in changed.stdout
    plain = applied(alone, "users: [{username: c}]\n", "--dry-run", NO_COLOR="1")
    assert "\x1b" not in plain.stdout
    assert "+ user c\n" in plain.stdout


@pytest.mark.parametrize(("options", "status"), [(["--dry-run"], 1), ([], 3)])
def test_a_dry_run_without_a_database_does_not_end_as_one_that_would_change(
    alone: Settings, options: list[str], status: int
) -> None:
    failed = applied(alone, "users: []\n", *options, NOTIFIER_DATABASE_URL="postgresql://n@127.0.0.1:1/none")
    assert isinstance(failed.exception, DatabaseError)
    assert failed.exception.exit_code == status
