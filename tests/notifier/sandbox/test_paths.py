"""What a script may write to, and what it may never be given."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from notifier.errors import InputError
from notifier.sandbox import Level, check_write_paths
from notifier.sandbox.paths import installation
from notifier.settings import Settings
from tests.rigs.repository import ROOT
from tests.rigs.sandboxes import CANARY, NOBODY, Outcome, Place, bash, python


def test_write_paths_can_be_written_run_after_run_and_nothing_else_can(any_place: Place) -> None:
    place = any_place
    line = place.out / "lines"
    others = [
        str(place.data / "secret.key"), str(place.data / "new"), str(place.folder / "new"), str(place.folder / "home/new"),
        str(ROOT / "new-file-of-a-script"), "/etc/new", "/usr/new", "/usr/local/bin/new", "/new", "/root/new", "/var/tmp/new",
    ]  # fmt: skip
    content = f"""
import os
with open({str(line)!r}, "a") as file: file.write("line\\n")
os.mkdir(os.environ["HOME"] + "/sub")
for path in {others!r}:
    for attempt in (lambda: open(path, "w").write("x"), lambda: os.unlink(path), lambda: os.chmod(path, 0o777),
                    lambda: os.truncate(path, 0), lambda: os.rename(path, path + "2"), lambda: os.mkdir(path)):
        try: attempt(); print(path)
        except OSError: pass
print("end")
"""
    for _ in range(2):
        outcome = place.one(python(content, write=[str(place.out)]))
        written = outcome.stdout.split()
        if place.kind.level is Level.bubblewrap:  # there, all of /tmp is the script's own
            written = [path for path in written if not path.startswith("/tmp/")]
        assert written == ["end"]
        assert [path for path in others if path.endswith("new") and Path(path).exists()] == []
    assert line.read_text() == "line\nline\n"
    assert line.stat().st_uid == place.out.stat().st_uid
    assert (place.data / "secret.key").read_text() == CANARY
    refused = place.one(python(content))
    assert refused.error == "ScriptFailed"
    assert "lines" in refused.text
    line.unlink()


def test_a_write_path_may_be_a_single_file_and_lie_anywhere(place: Place) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="test-sandbox-") as name:
        folder = Path(name)
        file, beside = folder / "file", folder / "beside"
        file.touch()
        for path in (folder, file):
            os.chown(path, place.kind.user, -1)
        folder.chmod(0o755)
        outcome = place.one(bash(f"echo x >{file}; (echo x >{beside}) 2>/dev/null; exit 0", write=[str(file)]))
        assert outcome == Outcome()
        assert file.read_text() == "x\n"
        assert not beside.exists()


def test_a_write_path_that_is_missing_or_forbidden_is_told(place: Place) -> None:
    link = place.out / "link"
    link.symlink_to(place.data)
    missing, data, linked = place.run(
        bash("exit 0", write=[str(place.out / "missing")]),
        bash("exit 0", write=[str(place.data)]),
        bash("exit 0", write=[str(link)]),
    )
    assert "does not exist here; make it" in missing.text
    for outcome in (data, linked):
        assert outcome.error == "ScriptFailed"
        assert "/parameters/write" in outcome.text
        assert "is the data folder" in outcome.text
    link.unlink()


def test_the_owner_of_a_write_path_may_be_another_user(root_place: Place) -> None:
    place = root_place
    folder, file = place.out / "of-nobody", place.out / "of-root"
    folder.mkdir()
    file.touch()
    os.chown(folder, NOBODY, NOBODY)
    assert place.one(bash(f"echo x >{folder}/x", write=[str(folder)])) == Outcome()
    assert (folder / "x").stat().st_uid == NOBODY
    both = place.one(bash("exit 0", write=[str(folder), str(file)]))
    assert "belong to different users" in both.text
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/", "is the system's"),
        ("/etc", "is the system's"),
        ("/etc/cron.d", "lies in /etc"),
        ("/usr/local/bin", "lies in /usr"),
        ("/proc/self", "lies in /proc"),
        ("/sys", "is the system's"),
        ("/dev/shm", "lies in /dev"),
        ("/srv/../etc", "must be an absolute path"),
        ("/srv/\0", "must be an absolute path"),
        ("relative/path", "must be an absolute path"),
        ("{data}", "is the data folder"),
        ("{data}/kafka", "lies in"),
        ("{parent}", "holds"),
        ("{cache}", "is the folder of downloads"),
        ("{link}", "is the data folder"),
        (str(ROOT), "holds Notifier itself"),
        (str(ROOT / "notifier"), "holds Notifier itself"),
        (sys.prefix, "holds Notifier itself"),
        (str(Path(tempfile.gettempdir())), "is where all scripts have their work folders"),
    ],
)
def test_forbidden_write_paths_are_refused(settings: Settings, tmp_path: Path, path: str, reason: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(settings.data_dir)
    path = path.format(data=settings.data_dir, parent=tmp_path, cache=settings.cache_dir, link=link)
    with pytest.raises(InputError, match="/parameters/write") as raised:
        check_write_paths(settings, [Path("/srv/out"), Path(path)])
    assert reason in str(raised.value)
    assert len(raised.value.errors) == 1


def test_other_write_paths_are_allowed(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    check_write_paths(settings, [Path("/srv/out"), Path("/var/spool/out"), tmp_path / "out", tmp_path / "circle"])


def test_the_installation_is_the_folder_that_holds_the_packages() -> None:
    packages, *environments = installation()
    assert packages == ROOT
    for name in ("notifier", "notifier_cli", "producers", "filters", "consumers", "streams", "control_api"):
        assert (packages / name / "__init__.py").is_file()
    assert environments == [Path(sys.prefix), Path(sys.base_prefix)]


def test_tools_may_be_read_and_run_and_nothing_beside_them(place: Place) -> None:
    (place.out / "tools").mkdir(exist_ok=True)
    for name in ("report", "other"):
        (place.out / "tools" / name).write_text(f"#!/bin/sh\necho {name}\n")
        (place.out / "tools" / name).chmod(0o755)
    tool, beside = place.out / "tools" / "report", place.out / "tools" / "other"
    allowed, missing, data = place.run(
        bash(
            f"report; {beside} 2>/dev/null || echo no; (echo x >>{tool}) 2>/dev/null || echo no",
            tools=[str(tool), "sh"],
        ),
        bash("exit 0", tools=["no-such-tool"]),
        bash("exit 0", tools=[str(place.data)]),
    )
    assert allowed.stdout == "report\nno\nno\n", allowed
    assert "no-such-tool is not here; install it" in missing.text
    assert "is the data folder" in data.text
