"""The jars of the embedded broker: pinned, fetched once, fetched again where damaged, from a mirror or the local repository."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from notifier.errors import BrokerError
from notifier.settings import load_settings
from streams.broker.broker import EmbeddedBroker
from streams.broker.jars import fetch_jars, from_maven, jar_folder, pinned_jars
from streams.broker.ports import free_port
from tests.rigs.broker_rig import refused

pytestmark = pytest.mark.usefixtures("own_settings")

SOME_JAR = next(jar for jar in pinned_jars() if ":slf4j-api:" in jar.coordinate)


@pytest.fixture(scope="module")
def real_jars() -> dict[str, Path]:
    """The jars in the user's cache, downloaded if need be, by coordinate."""
    settings = load_settings(env_file=None)
    return dict(zip((jar.coordinate for jar in pinned_jars()), fetch_jars(settings.cache_dir), strict=True))


@pytest.fixture
def linked(real_jars: dict[str, Path], tmp_path: Path) -> Path:
    """A cache folder of this test with all jars, which are not copied."""
    folder = jar_folder(tmp_path / "cache")
    folder.mkdir(parents=True)
    for path in real_jars.values():
        (folder / path.name).hardlink_to(path)
    return tmp_path / "cache"


def spoil(cache_dir: Path) -> Path:
    """Puts another file in the place of one jar."""
    path = jar_folder(cache_dir) / SOME_JAR.filename
    path.unlink()
    path.write_bytes(b"not a jar")
    return path


def sums(folder: Path) -> list[str]:
    return [hashlib.sha256((folder / jar.filename).read_bytes()).hexdigest() for jar in pinned_jars()]


def refuse(coordinate: str, work: Path) -> Path:
    raise AssertionError(f"{coordinate} was fetched")


def test_a_jar_that_is_missing_or_damaged_is_fetched_again(linked: Path, real_jars: dict[str, Path]) -> None:
    spoil(linked)
    (jar_folder(linked) / pinned_jars()[0].filename).unlink()
    (jar_folder(linked) / ".fetch-of-one-that-was-killed").mkdir()
    fetched: list[str] = []
    told: list[tuple[int, int]] = []

    def fetch(coordinate: str, work: Path) -> Path:
        fetched.append(coordinate)
        if coordinate == SOME_JAR.coordinate and fetched.count(coordinate) == 1:  # damaged on its way, once
            (work / "x.jar").write_bytes(b"half a j")
            return work / "x.jar"
        return Path(shutil.copy(real_jars[coordinate], work))

    paths = fetch_jars(linked, lambda done, total: told.append((done, total)), fetch=fetch)
    assert sorted(fetched) == sorted([pinned_jars()[0].coordinate, SOME_JAR.coordinate, SOME_JAR.coordinate])
    assert told == [(1, 2), (2, 2)]
    assert sums(jar_folder(linked)) == [jar.sha256 for jar in pinned_jars()]
    assert not list(jar_folder(linked).glob(".fetch-*"))
    assert fetch_jars(linked, fetch=refuse) == paths


def test_two_that_fetch_at_once_fetch_each_jar_once(tmp_path: Path, real_jars: dict[str, Path]) -> None:
    fetched: list[str] = []

    def fetch(coordinate: str, work: Path) -> Path:
        fetched.append(coordinate)
        return Path(shutil.copy(real_jars[coordinate], work))

    with ThreadPoolExecutor(2) as threads:
        fetches = [threads.submit(fetch_jars, tmp_path, lambda done, total: None, fetch=fetch) for _ in range(2)]
        assert fetches[0].result() == fetches[1].result()
    assert sorted(fetched) == sorted(real_jars)


def test_a_jar_that_is_not_the_pinned_one_stops_the_broker(linked: Path, tmp_path: Path) -> None:
    bad = spoil(linked)

    def fetch(coordinate: str, work: Path) -> Path:
        (work / "x.jar").write_bytes(b"not a jar")
        return work / "x.jar"

    settings = load_settings(env_file=None, data_dir=tmp_path / "data", cache_dir=linked, kafka_port=0)
    text = refused(EmbeddedBroker(settings, jars=partial(fetch_jars, fetch=fetch)))
    assert f"{SOME_JAR.coordinate}, a jar of the embedded broker, was downloaded twice and is not" in text
    assert bad.read_bytes() == b"not a jar"


def test_without_a_network_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_mirror(tmp_path, monkeypatch, f"http://127.0.0.1:{free_port()}")
    settings = load_settings(env_file=None, data_dir=tmp_path / "data", cache_dir=tmp_path / "cache", kafka_port=0)
    text = refused(EmbeddedBroker(settings))
    assert "cannot be downloaded (" in text
    assert "refused" in text
    for mend in ("HTTPS_PROXY", "~/.m2/settings.xml", str(jar_folder(tmp_path / "cache")), "NOTIFIER_KAFKA"):
        assert mend in text
    assert f"{len(pinned_jars())} jars" in capsys.readouterr().err
    assert [path.name for path in jar_folder(tmp_path / "cache").iterdir()] == [".lock"]


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match=r"cannot be kept in .*NOTIFIER_CACHE_DIR"):
        fetch_jars(tmp_path / "file", fetch=refuse)


def use_mirror(home: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Makes a Maven mirror in the settings of a home folder of this test the one place that jars come from."""
    (home / ".m2").mkdir()
    mirror = f"<mirror><id>m</id><mirrorOf>*</mirrorOf><url>{url}</url></mirror>"
    (home / ".m2" / "settings.xml").write_text(
        f'<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors>{mirror}</mirrors></settings>'
    )
    for name in ("M2_REPO", "JGO_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def repository(real_jars: dict[str, Path], tmp_path: Path) -> Path:
    """A Maven repository in a folder, with one jar."""
    group, artifact, version = SOME_JAR.coordinate.split(":")
    folder = tmp_path / "repository" / group.replace(".", "/") / artifact / version
    folder.mkdir(parents=True)
    shutil.copy(real_jars[SOME_JAR.coordinate], folder / SOME_JAR.filename)
    return tmp_path / "repository"


@pytest.fixture
def repository_url(repository: Path) -> Iterator[str]:
    """The same over HTTP."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", free_port()), partial(Quiet, directory=str(repository))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield "http://{}:{}".format(*server.server_address[:2])
        server.shutdown()
        thread.join()


def test_jars_come_from_the_mirror_in_the_settings_of_maven(
    repository_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mirror(tmp_path, monkeypatch, repository_url)
    (tmp_path / "work").mkdir()
    path = from_maven(SOME_JAR.coordinate, tmp_path / "work")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SOME_JAR.sha256
    assert not (tmp_path / ".m2" / "repository").exists()


def test_jars_come_from_the_local_maven_repository_without_a_network(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mirror(tmp_path, monkeypatch, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("M2_REPO", str(repository))
    (tmp_path / "work").mkdir()
    path = from_maven(SOME_JAR.coordinate, tmp_path / "work")
    assert path.parent == tmp_path / "work"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SOME_JAR.sha256
