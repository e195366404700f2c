"""Brokerless: settings for an API without a broker, on a copy of an upgraded SQLite database."""

import shutil
from pathlib import Path

from notifier.database import SQLITE_FILE
from notifier.seal import generate_key
from notifier.settings import Settings, load_settings


def brokerless(upgraded_file: Path, folder: Path) -> Settings:
    """The settings; the database is copied to `folder`."""
    shutil.copy(upgraded_file, folder / SQLITE_FILE)
    return load_settings(
        env_file=None, data_dir=folder, kafka="127.0.0.1:1", database_url=None, secret_key=generate_key()
    )
