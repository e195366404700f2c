"""Which level is found, and what is said about it."""

import shutil
import sys
from pathlib import Path

import pytest

from notifier.errors import SandboxUnavailable
from notifier.sandbox import Level, ScriptLimits, detect_sandbox, landlock
from notifier.settings import Settings, load_settings
from tests.rigs.sandboxes import require, script


async def test_the_interpreter_may_be_our_own(settings: Settings) -> None:
    own = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    for level in (Level.bubblewrap, Level.landlock):
        sandbox = detect_sandbox(settings, levels=[level], python=own)
        require(sandbox.level is level, sandbox.explanation)
        output = await sandbox.run(script("import json, sys; print(sys.executable)", "python"), limits=ScriptLimits())
        assert output.stdout.decode().strip() == str(own.resolve())
        output = await sandbox.run(script("echo $PATH"), limits=ScriptLimits())
        assert str(own.resolve().parent) in output.stdout.decode().strip().split(":")


async def test_without_a_possible_level_scripts_are_refused(settings: Settings) -> None:
    sandbox = detect_sandbox(settings, levels=[])
    assert sandbox.level is Level.none
    with pytest.raises(SandboxUnavailable, match=r"scripts are refused.*NOTIFIER_SCRIPT_SANDBOX=off"):
        await sandbox.run(script("exit 0"), limits=ScriptLimits())


def test_without_bwrap_the_explanation_says_so(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox = detect_sandbox(settings)
    assert sandbox.level in {Level.landlock, Level.none}
    assert "bubblewrap: bwrap is not installed" in sandbox.explanation
    assert "\n" not in sandbox.explanation
    refused = detect_sandbox(settings, landlock_version=0)
    assert refused.level is Level.none
    assert "landlock: this kernel does not offer it" in refused.explanation


def test_off_is_said_aloud_and_only_where_nothing_else_is_possible(tmp_path: Path) -> None:
    settings = load_settings(None, data_dir=tmp_path, script_sandbox="off")
    assert detect_sandbox(settings, levels=[]).level is Level.off
    assert "WITHOUT A SANDBOX" in detect_sandbox(settings, levels=[]).explanation
    best = detect_sandbox(settings)
    require(shutil.which("bwrap") or landlock.version(), "no sandbox is possible here")
    assert best.level in {Level.bubblewrap, Level.landlock}


def test_a_data_folder_that_scripts_could_read_is_refused() -> None:
    sandbox = detect_sandbox(load_settings(None, data_dir=Path("/usr/share/notifier")))
    assert sandbox.level is Level.none
    assert "the data folder /usr/share/notifier lies in /usr" in sandbox.explanation
    assert "NOTIFIER_DATA_DIR" in sandbox.explanation
