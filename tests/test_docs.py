"""The docs say what there is: the reference pages are the code's, links lead somewhere, every command is in the README."""

import importlib.util
import re  # for our own constant pattern
from types import ModuleType
from typing import Any

import pytest

import consumers
import filters
import producers
from notifier.settings import Settings
from notifier_cli.commands import COMMANDS
from tests.rigs.repository import ROOT

DOCS = ROOT / "docs"


def _reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["settings.md", "plugins.md", "topics.md"])
def test_the_reference_pages_are_what_the_code_says(page: str) -> None:
    assert (DOCS / page).read_text() == _reference().PAGES[page](), "write them again: python docs/reference.py"


def test_each_setting_and_each_parameter_is_described() -> None:
    models: list[Any] = [
        Settings,
        *(p.Parameters for p in (*producers.BUILT_IN, *filters.BUILT_IN, *consumers.BUILT_IN)),
    ]
    missing = [f"{m.__qualname__}.{name}" for m in models for name, f in m.model_fields.items() if not f.description]
    assert missing == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_in_the_readme(command: str) -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"`{command}" in readme or f"notifier {command}" in readme


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_each_file_that_the_pages_name_is_there() -> None:
    folders = "bench|consumers|control_api|docs|filters|locks|notifier|notifier_cli|producers|streams|tests"
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")]:
        for path in re.findall(rf"(?<![\w./-])((?:{folders})/[\w./-]*\w)", page.read_text()):
            found = (
                (ROOT / path).exists() or (ROOT / f"{path}.py").exists() or path.startswith("bench/results/")
            )  # written there
            assert found, f"{page.name} names {path}"


def test_each_row_of_the_predecessor_has_its_place() -> None:
    rows = re.findall(r"S-(\d+)", (DOCS / "predecessor.md").read_text())
    assert sorted(map(int, rows)) == list(range(1, 92))


def test_each_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert [page.name for page in DOCS.glob("*.md") if page.name not in navigation] == []
