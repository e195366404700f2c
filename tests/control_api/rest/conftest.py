"""An API with `BASE` defined, made anew for each test from a copy of its database."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from control_api.app import create_app
from control_api.registry import load_registry
from notifier.database import SQLITE_FILE
from notifier.registry import Registry
from notifier.seal import generate_key
from notifier.settings import load_settings
from tests.rigs.rest_rig import CheckedConsumer, CheckedProducer, Pulled, Rest, prepare, serving


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry().with_plugins(CheckedProducer, CheckedConsumer, Pulled)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> tuple[FastAPI, Path, dict[str, str]]:
    """An app, a copy of its database with `BASE` in it, and its tokens. There is no broker, and none is needed."""
    folder = tmp_path_factory.mktemp("rest")
    settings = load_settings(
        env_file=None, data_dir=folder, kafka="127.0.0.1:1", database_url=None, secret_key=generate_key()
    )
    bearer = asyncio.run(prepare(settings, registry))
    shutil.copy(folder / SQLITE_FILE, folder / "base")
    return create_app(settings, registry=registry), folder, bearer


@pytest.fixture
async def rest(prepared: tuple[FastAPI, Path, dict[str, str]]) -> AsyncIterator[Rest]:
    """The API, with nothing but `BASE` defined."""
    app, folder, bearer = prepared
    for leftover in folder.glob(f"{SQLITE_FILE}*"):
        leftover.unlink()
    shutil.copy(folder / "base", folder / SQLITE_FILE)
    async with serving(app, bearer) as rest:
        yield rest
