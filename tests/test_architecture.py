"""docs/architecture.md names each folder, and names nothing that is not there."""

import re  # for our own constant patterns
import subprocess
import tomllib
from pathlib import PurePosixPath

import pytest

from tests.rigs.repository import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PRODUCT = ("notifier", "notifier_cli", "producers", "filters", "consumers", "streams", "control_api")
WHOLE = ("control_api/assets", "notifier_cli/demo", "control_api/migrations")  # one line stands for what is in them


def _files() -> list[PurePosixPath]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [PurePosixPath(line) for line in listed.stdout.splitlines()]


def _folders() -> set[str]:
    """Each folder that needs a line of its own."""
    folders = {str(folder) for file in _files() for folder in file.parents if str(folder) != "."}
    top = {folder for folder in folders if "/" not in folder and not folder.startswith(".")}
    below = {folder for folder in folders if folder.split("/")[0] in PRODUCT}
    return top | {folder for folder in below if not folder.startswith(tuple(f"{whole}/" for whole in WHOLE))}


def test_each_folder_has_its_line() -> None:
    lines = re.findall(r"^\| `([^`]+)/` \| (.+) \|$", PAGE, re.MULTILINE)
    assert sorted(folder for folder, _ in lines) == sorted(_folders())


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`", PAGE))))
def test_each_path_on_the_page_is_there(path: str) -> None:
    places = [ROOT, ROOT / "control_api", ROOT / "streams", ROOT / "notifier_cli" / "demo", ROOT / "tests"]
    assert any((place / path).exists() for place in places), f"the page names {path}"


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`([a-z_]+\.py)`", PAGE))))
def test_each_file_on_the_page_is_there(file: str) -> None:
    assert file in {path.name for path in _files()}, f"the page names {file}"


def test_each_layer_of_the_linter_is_on_the_page() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    names = {
        name.strip() for contract in contracts for layer in contract.get("layers", ()) for name in layer.split("|")
    }
    assert {"app", "http", "notifier_cli"} <= names
    assert names - set(re.findall(r"(\w+)(?:/|\.py)", PAGE)) == set(), "the picture lacks a layer"
