"""Which files definitions may name."""

from pathlib import Path

import pytest

from notifier import Permanent
from notifier.allowed_files import AllowedFiles
from notifier.errors import SettingsError
from notifier.settings import load_settings


def test_only_files_in_the_folders_and_never_those_of_the_data_folder(tmp_path: Path) -> None:
    reports, data, beside = tmp_path / "reports", tmp_path / "reports" / "var", tmp_path / "reports-of-others"
    for folder in (reports, data, beside):
        folder.mkdir()
        (folder / "a.db").touch()
    (reports / "link.db").symlink_to(data / "a.db")
    (reports / "out.db").symlink_to(beside / "a.db")
    (reports / "circle.db").symlink_to(reports / "circle.db")
    (tmp_path / "way").symlink_to(reports)
    settings = load_settings(env_file=None, sqlite_folders=str(tmp_path / "way"), data_dir=data)
    files = settings.files
    assert files.find(reports / "a.db") == reports / "a.db"
    assert files.find(tmp_path / "way" / "a.db") == reports / "a.db"
    refused = [
        beside / "a.db",
        data / "a.db",
        reports / "link.db",
        reports / "out.db",
        reports / ".." / "reports-of-others" / "a.db",
        beside / "nothing.db",
        Path("/etc/passwd"),
        Path("\0"),
    ]
    for path in refused:
        with pytest.raises(Permanent, match="NOTIFIER_SQLITE_FOLDERS") as error:
            files.find(path)
        assert error.value.reason == "forbidden"
    for path in (reports / "nothing.db", reports, reports / "circle.db"):
        with pytest.raises(Permanent):
            files.find(path)


def test_without_the_setting_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    for files in (AllowedFiles(), load_settings(env_file=None, data_dir=tmp_path / "var").files):
        with pytest.raises(Permanent):
            files.find(tmp_path / "a.db")


def test_folders_are_absolute() -> None:
    with pytest.raises(SettingsError, match="NOTIFIER_SQLITE_FOLDERS must be absolute paths"):
        load_settings(env_file=None, sqlite_folders="/srv,reports")
