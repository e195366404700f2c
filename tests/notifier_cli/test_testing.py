"""`notifier test` and `notifier apply --test`, with the example of the docs."""

import re  # for our own constant pattern
from pathlib import Path

import pytest
from click.testing import CliRunner

from notifier_cli.commands import cli
from tests.rigs.repository import ROOT


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_settings: None) -> Path:
    """The documented file, in a folder without settings."""
    page = (ROOT / "docs" / "testing-configurations.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "definitions.yaml").write_text(example)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "definitions.yaml"


def test_the_documented_tests_pass_and_nothing_is_made(file: Path) -> None:
    asked = CliRunner().invoke(cli, ["test", "-f", str(file)], standalone_mode=False)
    assert asked.return_value == 0, asked.output
    assert asked.output.splitlines()[-1] == "3 passed, 0 failed"
    assert list(file.parent.iterdir()) == [file]


def test_one_that_fails_says_why_and_keeps_apply_from_changing_anything(file: Path) -> None:
    file.write_text(file.read_text().replace("T10:00", "T20:00"))
    for command in ("test", "apply --test"):
        asked = CliRunner().invoke(cli, [*command.split(), "-f", str(file)], standalone_mode=False)
        assert asked.return_value == 1, asked.output
        assert "FAIL  alice hears of a failed build (definitions.yaml:13)" in asked.output
        assert "alice by team-chat was expected: alice would not get it: builds would drop it" in asked.output
        assert "2 passed, 1 failed" in asked.output
        assert list(file.parent.iterdir()) == [file]


def test_a_file_without_tests_is_no_pass(file: Path) -> None:
    file.write_text(file.read_text().partition("tests:")[0])
    asked = CliRunner().invoke(cli, ["test", "-f", str(file)], standalone_mode=False)
    assert (asked.return_value, asked.output) == (1, f"there are no tests in {file}\n")
