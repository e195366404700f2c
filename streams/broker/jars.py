"""The jars of the embedded broker: pinned, kept in the cache folder, downloaded where they are missing.

`jars.lock` beside this file pins every jar by Maven coordinate and SHA-256 sum, one line each:
`<sha256>  <group:artifact:version>`. Dependencies are not resolved: a resolver picks another `kafka-clients` than Kafka's own
release holds. The jars lie in `<cache folder>/kafka-<version>/`, so that all data folders share one download.
Running the broker is `streams.broker.broker`'s.
"""

import errno
import fcntl
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar

from notifier.errors import BrokerError
from notifier.one_line import one_line

LOCK_FILE = Path(__file__).with_name("jars.lock")
PARALLEL_DOWNLOADS = 4
TIMEOUT_S = 60  # to connect, and for each read
_NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)  # the folder's faults, not the network's

Fetcher = Callable[[str, Path], Path]  # (coordinate, empty work folder) → the downloaded jar
Progress = Callable[[int, int], None]  # (jars downloaded so far, jars to download)


@dataclass(frozen=True, kw_only=True)
class Jar:
    """One line of `jars.lock`."""

    coordinate: str  # `group:artifact:version`
    sha256: str  # in hexadecimal

    @property
    def filename(self) -> str:
        """Its name in the cache folder, as in a Maven repository."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


@cache
def pinned_jars() -> tuple[Jar, ...]:
    """The broker's jars, in the order of the class path."""
    lines = (line.split() for line in LOCK_FILE.read_text(encoding="utf-8").splitlines())
    return tuple(Jar(sha256=line[0], coordinate=line[1]) for line in lines if line)


@cache
def kafka_version() -> str:
    """The version of Apache Kafka that `jars.lock` pins."""
    server = next(jar for jar in pinned_jars() if jar.coordinate.startswith("org.apache.kafka:kafka-server:"))
    return server.coordinate.rpartition(":")[2]


def jar_folder(cache_dir: Path) -> Path:
    """`<cache folder>/kafka-<version>`."""
    return cache_dir / f"kafka-{kafka_version()}"


def fetch_jars(cache_dir: Path, progress: Progress | None = None, *, fetch: Fetcher | None = None) -> list[Path]:
    """The paths of the broker's jars, each checked against its pinned sum; missing and damaged ones are downloaded first.

    Processes that fetch at the same time wait for each other; a killed one leaves no file that passes for a jar. Without
    `progress` a bar is shown on standard error, or lines where that is no terminal. `fetch` replaces the download from a Maven
    repository. Raises BrokerError, one line that says what is missing and what would help.
    """
    folder = jar_folder(cache_dir)
    paths = [folder / jar.filename for jar in pinned_jars()]
    if not _wanted(folder):
        return paths
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            wanted = _wanted(folder)  # again: another process may have fetched them in the meantime
            for left_behind in folder.glob(".fetch-*"):
                shutil.rmtree(left_behind, ignore_errors=True)
            if wanted and progress is None:
                with _shown(len(wanted)) as shown:
                    _fetch_all(wanted, folder, fetch or from_maven, shown)
            elif wanted:
                _fetch_all(wanted, folder, fetch or from_maven, progress)
    except OSError as error:
        raise BrokerError(
            f"the broker's jars cannot be kept in {folder}: {error.strerror or error};"
            " free or name another folder in NOTIFIER_CACHE_DIR"
        ) from None
    return paths


def _wanted(folder: Path) -> list[Jar]:
    return [jar for jar in pinned_jars() if _sum(folder / jar.filename) != jar.sha256]


def _sum(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _fetch_all(wanted: list[Jar], folder: Path, fetch: Fetcher, progress: Progress | None) -> None:
    pool = ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="jars")
    try:
        downloads = [pool.submit(_fetch_one, jar, folder, fetch) for jar in wanted]
        for done, download in enumerate(as_completed(downloads), start=1):
            download.result()
            if progress is not None:
                progress(done, len(wanted))
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch_one(jar: Jar, folder: Path, fetch: Fetcher) -> None:
    for _ in range(2):  # a download may be damaged in transit; damaged twice, it is not the pinned jar
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as work:
            try:
                path = fetch(jar.coordinate, Path(work))
            except (OSError, RuntimeError, ValueError) as error:  # of requests (all OSErrors) and jgo
                if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
                    raise
                raise BrokerError(
                    f"{jar.coordinate}, a jar of the embedded broker, cannot be downloaded ({_plain(error)}):"
                    " with a proxy set HTTPS_PROXY, with a mirror name it in ~/.m2/settings.xml,"
                    f" offline copy the jars of another machine's cache into {folder},"
                    " or name a broker in NOTIFIER_KAFKA=host:port"
                ) from None
            if _sum(path) == jar.sha256:
                path.replace(folder / jar.filename)
                return
    raise BrokerError(
        f"{jar.coordinate}, a jar of the embedded broker, was downloaded twice and is not the one that is pinned"
        f" (SHA-256 {jar.sha256[:12]}…): something on the way changes it; look at your mirror or proxy,"
        " or name a broker in NOTIFIER_KAFKA=host:port"
    )


def _plain(error: BaseException) -> str:
    """The innermost reason of a failed download on one line; requests and urllib3 wrap each other's errors."""
    while True:
        wrapped = (getattr(error, "reason", None), *error.args)
        inner = next((part for part in wrapped if isinstance(part, BaseException)), None)
        if inner is None:
            return one_line(str(error), 200)
        error = inner


def from_maven(coordinate: str, work: Path) -> Path:
    """Downloads one jar into the folder `work`, without POM and dependencies; ~/.m2 is not written.

    A jar of the local Maven repository (M2_REPO, or ~/.m2/repository) is copied from there.
    """
    from jgo.constants import default_maven_repo  # imported late: only a download needs it
    from jgo.maven import MavenContext

    group, artifact, version = coordinate.split(":")
    context = MavenContext(
        repo_cache=work, local_repos=[Path(default_maven_repo())], remote_repos=_repositories(), timeout=TIMEOUT_S
    )
    path = Path(context.project(group, artifact).at_version(version).artifact().resolve())
    if not path.is_relative_to(work):
        path = Path(shutil.copy(path, work))
    return path


def _repositories() -> dict[str, str] | None:
    """The repositories of jgo's configuration, else a mirror of Maven's settings, else None, which is jgo's default."""
    from jgo.config import GlobalSettings

    configured: dict[str, str] = GlobalSettings.load().repositories
    if configured:
        return configured
    try:
        root = ElementTree.parse(Path.home() / ".m2" / "settings.xml").getroot()  # noqa: S314 - the user's own file
    except (OSError, ElementTree.ParseError):
        return None
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        of, url = mirror.findtext("{*}mirrorOf", "").strip(), mirror.findtext("{*}url", "").strip()
        if url and {"*", "central", "external:*"} & set(of.split(",")) and "!central" not in of:
            return {"mirror": url.rstrip("/")}
    return None


@contextmanager
def _shown(missing: int) -> Iterator[Progress]:
    what = f"Apache Kafka {kafka_version()} for the embedded broker"
    console = Console(stderr=True)
    if not console.is_terminal:
        print(f"downloading {what}: {missing} jars, once", file=sys.stderr, flush=True)

        def line(done: int, total: int) -> None:
            if done == total or done % 10 == 0:
                print(f"downloaded {done} of {total} jars", file=sys.stderr, flush=True)

        yield line
        return
    with ProgressBar(TextColumn(f"Downloading {what}"), BarColumn(), MofNCompleteColumn(), console=console) as bar:
        task = bar.add_task("", total=missing)
        yield lambda done, total: bar.update(task, completed=done, total=total)
