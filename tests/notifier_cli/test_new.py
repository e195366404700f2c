"""`notifier new` and `notifier plugins`: the packages install without a network, are listed, run, and their own tests pass."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner

from notifier.errors import InputError, UnknownName
from notifier_cli.commands import cli

KINDS = ("producer", "filter", "consumer")
TYPES = {kind: f"my-own-{kind}" for kind in KINDS}

DEFINITIONS = """
producers:
  - {name: news, type: my-own-producer, parameters: {url: "https://example.com/news.json", token: "${TOKEN}"}}
filters:
  - {name: labelled, type: my-own-filter, parameters: {label: team}}
consumers:
  - {name: there, type: my-own-consumer, parameters: {url: "https://example.com/hook"}}
users:
  - {username: alice}
configurations:
  - {name: all, users: [alice], producers: [news], filters: [labelled], consumers: [there]}
tests:
  - name: what has the label is told
    message: {producer: news, receiver: alice, content: done, labels: {team: infra}}
    expect: [{recipient: alice, consumer: there}]
  - name: anything else is not
    message: {producer: news, receiver: alice, content: done}
    expect: {dropped_by: labelled}
"""


def asked(*command: str) -> list[str]:
    """The lines that a command prints."""
    result = CliRunner().invoke(cli, command, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout.splitlines()


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a package of each kind."""
    folder = tmp_path_factory.mktemp("packages")
    for kind, name in TYPES.items():
        assert len(asked("new", kind, name, "--into", str(folder))) == 5
    return folder


@pytest.fixture(scope="module")
def python(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh environment that has what this one has, and in it the packages, installed without a network."""
    environment = tmp_path_factory.mktemp("fresh") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(environment))
    fresh = environment / "bin" / "python"
    (site,) = environment.glob("lib/python*/site-packages")
    installation = sysconfig.get_path("purelib")
    (site / "installation.pth").write_text(f"import site; site.addsitedir({installation!r})\n")
    install = [str(fresh), "-m", "pip", "install", "--no-index", "--no-build-isolation", "--quiet"]
    run(*install, *(str(packages / name) for name in TYPES.values()))
    return fresh


def run(*command: str, folder: Path | None = None) -> str:
    """What a command prints. It must end with 0, and knows nothing of this process's settings."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("NOTIFIER_", "PYTEST_"))}
    variables |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=500, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_the_packages_are_listed_with_their_schemas_and_run(python: Path, packages: Path, tmp_path: Path) -> None:
    listed = json.loads(run(str(python), "-m", "notifier", "plugins", "--json", folder=tmp_path))
    found = {item["type"]: item for item in listed if item["type"] in TYPES.values()}
    assert {type_: item["kind"] for type_, item in found.items()} == {name: kind for kind, name in TYPES.items()}
    assert found["my-own-filter"]["parameters"]["required"] == ["label"]
    assert found["my-own-producer"]["description"].startswith("Asks an address for a JSON list")
    assert found["my-own-consumer"]["parameters"]["properties"]["token"]["anyOf"][0]["writeOnly"] is True
    (tmp_path / "definitions.yaml").write_text(DEFINITIONS)
    told = run(str(python), "-m", "notifier", "test", "-f", "definitions.yaml", folder=tmp_path)
    assert told.splitlines()[-1] == "2 passed, 0 failed"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_package_pass(python: Path, packages: Path, kind: str) -> None:
    told = run(str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", folder=packages / TYPES[kind])
    assert " passed" in told.splitlines()[-1]


@pytest.mark.slow
def test_what_is_written_is_as_our_own_code_is(packages: Path) -> None:
    folder = Path(__file__).parents[2]
    ruff = [sys.executable, "-m", "ruff"]
    run(*ruff, "format", "--check", "--config", str(folder / "pyproject.toml"), str(packages))
    run(*ruff, "check", "--config", str(folder / "pyproject.toml"), "--ignore", "I001,INP001,S101", str(packages))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Duty", "must be at most 63 lower-case letters"),
        ("../duty", "must be at most 63 lower-case letters"),
        ("7up", "and begin with a letter"),
        ("class", "class is a word of Python"),
        ("none", "none is a word of Python"),
        ("consumers", "a package of Notifier"),
        ("push", "there is a producer type 'push' already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        asked("new", "producer", name, "--into", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "duty").mkdir()
    with pytest.raises(InputError, match="already"):
        asked("new", "filter", "duty", "--into", str(tmp_path))
    assert list((tmp_path / "duty").iterdir()) == []


def test_plugins_are_listed_and_shown() -> None:
    assert any(line.startswith("filter    expression ") for line in asked("plugins", "--kind", "filter"))
    first, *parameters = asked("plugins", "regex")
    assert first.startswith("filter    regex ")
    assert any(line.startswith("    pattern (required): Regular expression") for line in parameters)
    with pytest.raises(UnknownName):
        asked("plugins", "nothing")
