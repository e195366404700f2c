"""Mappings as definitions: tables in files, what keeps them from being deleted, and whose messages a team may change."""

from pathlib import Path
from typing import Any

import pytest

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.definitions.apply import export
from control_api.definitions.services import Services
from control_api.definitions.table_file import read_table
from notifier.database import Database
from notifier.errors import InputError, OtherTeam, StillReferenced
from notifier.seal import Seal
from tests.rigs.definitions_rig import REGISTRY, Apply, write_files

pytest_plugins = ["tests.rigs.databases"]

FEED = {"type": "feed", "parameters": {"url": "http://a", "token": "x"}}
CSV = """service,severity,receiver,team,labels.title
billing,critical,alice,payments,"Billing, and more"

search,,,infra,
007,,,,x
"""
ROWS = {
    "billing": {
        "severity": "critical",
        "receiver": "alice",
        "labels": {"team": "payments", "title": "Billing, and more"},
    },
    "search": {"labels": {"team": "infra"}},
    "007": {"labels": {"title": "x"}},
}


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("t.csv", CSV, "service"),
        ("t.csv", CSV, None),
        ("t.csv", CSV.replace("\n", "\r\n"), None),
        (
            "t.csv",
            CSV.replace(",", ";").replace("Billing;", "Billing,"),
            None,
        ),
        (
            "T.YML",
            "billing: {severity: critical, receiver: alice, labels: {team: payments, title: 'Billing, and more'}}\n"
            "search: {labels: {team: infra}}\n'007': {labels: {title: x}}",
            "service",
        ),
    ],
)
def test_a_file_is_a_table(name: str, text: str, key: str | None) -> None:
    assert read_table(name, text, key) == {"key": "service", "rows": ROWS}


@pytest.mark.parametrize(
    ("name", "text", "key", "words"),
    [
        ("t.csv", "", None, "is empty"),
        ("t.csv", "a,b\n1,2\n1,3\n", None, "line 3: has a row for '1' already"),
        ("t.csv", "a,b\n1\n", None, "line 2: has 1 cells, and the first line 2"),
        ("t.csv", "a,b,b\n", None, "names the column 'b' twice"),
        ("t.csv", "a,,b\n", None, "the column 2 has no name"),
        ("t.csv", "a,b\n", "c", "has no column 'c'"),
        ("t.csv", 'a,b\n"1,2\n', None, "is not CSV"),
        ("t.csv", "a,b\n\0,2\n" + "x" * 200_000, None, "line"),
        ("t.yaml", "[a]", "k", "must be one object"),
        ("t.yaml", "a: {}\na: {}", "k", "line 2: 'a' is there already"),
        ("t.yaml", "1: {}", "k", "put it in quotes"),
        ("t.yaml", "a: {b: {c: {d: {e: f}}}}", "k", "nested too deeply"),
        ("t.yaml", "a: [", "k", "is not YAML"),
        ("t.yaml", "a: &a {b: *a}", "k", ""),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(name: str, text: str, key: str | None, words: str) -> None:
    with pytest.raises(InputError) as refused:
        read_table(name, text, key)
    (fault,) = refused.value.errors
    assert fault.pointer == "/table/file"
    assert words in fault.detail


async def test_a_table_of_a_file_is_stored_with_its_rows_and_exported_so(
    applied: Apply, services: Services, store: Database, seal: Seal, tmp_path: Path
) -> None:
    written = """\
        producers: [{name: ci, type: feed, parameters: {url: "http://a", token: x}}]
        mappings:
          - {name: owners, producers: [ci], table: {file: tables/owners.csv}}
    """
    folder = write_files(tmp_path / "files", d_yaml=written)
    (folder / "tables").mkdir()
    (folder / "tables" / "owners.csv").write_bytes(b"\xef\xbb\xbf" + CSV.encode())
    await applied(folder)
    document = (await services.get("mapping", "owners")).document
    assert document["table"]["key"] == "service"
    assert document["table"]["rows"].keys() == ROWS.keys()
    async with store.read() as session:
        exported = await export(session, REGISTRY)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "d.yaml").write_text(exported)
    assert not (await applied(tmp_path / "again")).edits
    with pytest.raises(StillReferenced, match="mapping/owners"):
        await services.delete(COMMAND_LINE, "producer", "ci")
    for table, words in (
        ("{file: ../owners.csv}", "is outside the folder"),
        ("{file: gone.csv}", "there is no file"),
        ("{file: a.csv, rows: {}}", "are both there"),
        ("{file: 7}", "must be the name of a file"),
    ):
        (tmp_path / "owners.csv").write_text(CSV)
        wrong = f"mappings: [{{name: owners, table: {table}}}]"
        with pytest.raises(InputError, match=words):
            await applied(write_files(tmp_path / "wrong", d_yaml=wrong))


def _of(team: str | None, *, strict: bool = False) -> Actor:
    return Actor("token x", frozenset({"read", "write"}), team, strict)


@pytest.mark.parametrize("strict", [False, True])
async def test_a_team_changes_no_messages_of_producers_that_it_may_not_change(services: Services, strict: bool) -> None:
    for name, team in (("red", "red"), ("blue", "blue"), ("common", None)):
        await services.create(_of(None), "producer", {**FEED, "name": name, "team": team})
    red = _of("red", strict=strict)

    def spec(*producers: str) -> dict[str, Any]:
        return {"name": "m", "producers": list(producers), "set": {"severity": "error"}}

    with pytest.raises(InputError if strict else OtherTeam):
        await services.create(red, "mapping", spec("red", "blue"))
    with pytest.raises(InputError, match="for who has no team") as refused:
        await services.create(red, "mapping", spec())
    assert refused.value.errors[0].pointer == "/producers"
    await services.create(red, "mapping", spec("red", "common"))
    with pytest.raises(InputError, match="for who has no team"):
        await services.patch(red, "mapping", "m", {"producers": None})
    await services.create(_of(None), "mapping", {**spec(), "name": "all"})
