"""The pages' policies and their assets."""

import asyncio
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from control_api.console.assets import FOLDER, MEDIA_TYPES, address, served
from notifier.outcome import KINDS
from tests.rigs.console_server import BROWSER, Console
from tests.rigs.problems import problem
from tests.rigs.repository import ROOT

RECORDS = [f"/console/{name}" for name in ("messages", "dead_letters", "runs", "audit", "access", "system")]
pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_pages_run_no_script_but_ours(console: Console) -> None:
    async with console.client(await console.session("admin")) as browser:
        lists = [f"/console/{kind}s" for kind in KINDS]
        for path in ("/console", *lists, *(f"{one}/~new" for one in lists), *RECORDS, "/docs", "/graphql"):
            answer = await browser.get(path, headers=BROWSER)
            policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
            assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
            assert policy.get("script-src", "'self'") == "'self'"
            assert policy["form-action"] == "'self'"
            assert policy["style-src"] == ("'self' 'unsafe-inline'" if path == "/graphql" else "'self'")
            assert not re.search(r"<script(?![^>]*\ssrc=\"/assets/)|\son\w+=|\sstyle=|<style|=\"https?:", answer.text)
            for asset in re.findall(r"\"(/assets/[^\"]+)\"", answer.text):
                assert (await browser.get(asset)).status_code == 200, asset


async def test_assets_are_kept_by_browsers_and_open_to_anyone(console: Console) -> None:
    async with console.client() as browser:
        for path in served():
            answer = await browser.get(address(path))
            assert answer.content == (FOLDER / path).read_bytes()
            assert answer.headers["content-type"].split(";")[0] == MEDIA_TYPES[Path(path).suffix]
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["x-content-type-options"] == "nosniff"
            same = await browser.get(address(path), headers={"If-None-Match": answer.headers["etag"]})
            assert (same.status_code, same.content) == (304, b"")
        good = address("console/console.css")
        for path in (
            good.replace("/assets/", "/assets/0"),
            good.replace("console/console.css", "console/editor.css"),
            good.replace("console/console.css", "vendor/vendored.json"),
            good.replace("console/console.css", "../app.py"),
            good.replace("console/console.css", "..%2f..%2fapp.py"),
            good.replace("console/console.css", "console"),
            "/assets/",
        ):
            problem(await browser.get(path), 404)


async def test_what_others_wrote_is_what_they_published() -> None:
    folder = FOLDER / "vendor"
    entries = json.loads((folder / "vendored.json").read_text())
    noted = {path: sum_ for entry in entries for path, sum_ in entry["files"].items()}
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    del files["vendored.json"]
    assert {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in files.items()} == noted
    for entry in entries:
        assert {path.split("/")[0] for path in entry["files"]} == {f"{entry['name']}-{entry['version']}"}
        assert any(path.endswith("/LICENSE") for path in entry["files"])


async def test_pages_and_assets_are_in_the_wheel(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    pages = ROOT / "control_api" / "console"
    folders = (FOLDER, pages / "templates", pages / "locale")
    wanted = {file.relative_to(ROOT).as_posix() for folder in folders for file in folder.rglob("*") if file.is_file()}
    assert wanted - packed == set()
