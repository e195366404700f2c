"""The sandbox at every level: one driver process for each kind, shared by all tests of this folder."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from notifier.sandbox import Level, Sandbox, detect_sandbox
from notifier.settings import Settings, load_settings
from tests.rigs.sandboxes import KINDS, OLD_KINDS, US, Kind, Place, require, start, stop


@pytest.fixture(scope="module")
def places() -> Iterator[Callable[[Kind], Place]]:
    """A driver for each kind, started when it is first asked for."""
    started: dict[str, Place] = {}
    with ExitStack() as stack:

        def get(kind: Kind) -> Place:
            if kind.needs_root and US != 0:
                pytest.skip("only root can start a process as nobody, or a script as root")
            if kind.name not in started:
                folder = Path(tempfile.mkdtemp(prefix="test-sandbox-"))
                stack.callback(shutil.rmtree, folder)
                started[kind.name] = start(kind, folder)
                stack.callback(stop, started[kind.name])
            return started[kind.name]

        yield get


@pytest.fixture(params=KINDS, ids=str)
def place(request: pytest.FixtureRequest, places: Callable[[Kind], Place]) -> Place:
    """Every level, as root and as nobody."""
    return places(request.param)


@pytest.fixture(params=[*KINDS, *OLD_KINDS], ids=str)
def any_place(request: pytest.FixtureRequest, places: Callable[[Kind], Place]) -> Place:
    """The same, and Landlock as older kernels have it."""
    return places(request.param)


@pytest.fixture(params=[kind for kind in KINDS if kind.needs_root == kind.shares_user], ids=str)
def root_place(request: pytest.FixtureRequest, places: Callable[[Kind], Place]) -> Place:
    """Where Notifier is root, which alone can run a script as another user."""
    if US != 0:
        pytest.skip("only root can run a script as another user")
    return places(request.param)


@pytest.fixture(params=[kind for kind in KINDS if not kind.needs_root], ids=str)
def giving_place(request: pytest.FixtureRequest, places: Callable[[Kind], Place]) -> Place:
    """Where Notifier is root and gives each script a user of its own: those without `write`."""
    if US != 0:
        pytest.skip("only root can give out users")
    return places(request.param)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a data folder and nothing else; no broker is needed here."""
    return load_settings(None, data_dir=tmp_path / "data", cache_dir=tmp_path / "cache")


@pytest.fixture(scope="module", params=[Level.bubblewrap, Level.landlock, Level.off], ids=str)
def sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox in this process, at each level."""
    settings = load_settings(None, data_dir=tmp_path_factory.mktemp("data"), script_sandbox="off")
    found = detect_sandbox(settings, levels=[request.param] if request.param is not Level.off else [])
    require(found.level is request.param, found.explanation)
    return found
