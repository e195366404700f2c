"""The program that calls Apprise, a process of its own beside the delivery worker (`consumers.apprise.process` starts it).

What Apprise's hundred plugins do with a URL nobody here has read: some open files that it names, some start programs, each
connects as it likes. In this process an audit hook, below all of them, sees what they ask of Python:

- connections and datagrams go to addresses that `notifier.public_address` calls public, or that are allowed;
- files are read where Python, its libraries and the authorities of certificates lie, and are written nowhere;
- no program is started.

HTTP follows no redirect and reads 64 KiB of an answer. The environment is empty, so no proxy hides an address from the hook.

Requests come on standard input and answers go to standard output, each as four bytes of length (big-endian) and a JSON object:
`{"url", "title", "body", "type", "allowed"}`, and `{"sent", "status", "retry_after", "error", "refused", "log", "limit"}`.
Without `body` the URL is only looked at, and `limit` is how many characters its service takes. The process ends at the end of
its input. It is run by path and isolated (`python -I`).
"""

import importlib.util
import json
import logging
import os
import resource
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

MEMORY_BYTES = 2 * 1024 * 1024 * 1024  # of address space; Apprise alone takes a quarter
ANSWER_BYTES = 64 * 1024
TIMEOUT_S = (5.0, 15.0)  # to connect, and between two pieces of an answer
MAX_LOG = 1000  # characters
TITLE_IN_BODY = 300  # characters that are left to the title where a service has none of its own

_LOCAL_FILES = ("/usr", "/lib", "/lib64", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/opt/homebrew")
_SINGLE_FILES = frozenset(
    [
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/nsswitch.conf",
        "/etc/mime.types",
        "/etc/localtime",
        "/dev/null",
        "/dev/urandom",
    ]
)
_PROGRAMS = frozenset(
    ["subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"]
)
_SENDS = frozenset(["socket.connect", "socket.sendto", "socket.sendmsg"])
_CHANGES = frozenset(
    ["os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"]
)


class Guard:
    """The audit hook. `refused` says whether it refused a connection since it was last set to False."""

    def __init__(self, public: ModuleType, allowing: ModuleType) -> None:
        self._public = public
        self._allowing = allowing
        self._networks: Sequence[Any] = ()
        self._names: frozenset[str] = frozenset()
        self._by_name: set[str] = set()  # addresses that allowed names led to
        # Not all of `sys.path`: where Notifier runs from its sources, its settings and its data lie beside them.
        libraries = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        prefixes = {sys.prefix, sys.base_prefix, *libraries, *_LOCAL_FILES, os.environ.get("SSL_CERT_DIR", "")}
        self._folders = tuple(f"{os.path.realpath(prefix)}/" for prefix in prefixes if prefix)
        self._files = _SINGLE_FILES | {os.path.realpath(os.environ.get("SSL_CERT_FILE", "/etc/hosts"))}
        self._lookup = socket.getaddrinfo
        self.refused = False

    def allow(self, allowed: Sequence[str]) -> None:
        """Takes the entries of NOTIFIER_ALLOWED_ADDRESSES."""
        self._networks, self._names = self._allowing.read_allowed(allowed)
        self._by_name.clear()

    def look_up(self, host: Any, *more: Any, **options: Any) -> Any:
        """`socket.getaddrinfo`; remembers where allowed names lead."""
        found = self._lookup(host, *more, **options)
        if isinstance(host, str) and self._allowing.plain_host(host) in self._names:
            self._by_name.update(str(info[4][0]) for info in found)
        return found

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Takes an audit event of Python. Raises PermissionError for an address, a file or a program that is not allowed."""
        if event in _SENDS:
            self._judge(arguments[1])
        elif event == "open":
            self._judge_file(*arguments)
        elif event in _PROGRAMS or event in _CHANGES:
            raise PermissionError(f"{event} is not allowed here")

    def _judge(self, address: Any) -> None:
        if address is None:  # of a socket that is connected
            return
        host = address[0] if isinstance(address, tuple) else None
        found = self._public.read_address(host) if isinstance(host, str) else None
        if found is None or not (self._public.is_public(found) or host in self._by_name or self._allows(found)):
            self.refused = True
            raise PermissionError("it does not lead to a public address; NOTIFIER_ALLOWED_ADDRESSES can allow it")

    def _allows(self, address: Any) -> bool:
        ways = [address, *(self._public.held_in(address) if address.version == 6 else ())]
        return any(way.version == network.version and way in network for way in ways for network in self._networks)

    def _judge_file(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int):
            return
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        real = os.path.realpath(os.fsdecode(path))
        if real == "/dev/null":
            return
        if writes or not (real in self._files or real.startswith(self._folders)):
            raise PermissionError("a file that is none of Apprise's own")


class Exchange:
    """What HTTP said during one call: the last status, and how the last request failed."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after: str | None = None
        self.error: str | None = None

    def watch(self) -> None:
        """Watches and bounds each request from now on."""
        import requests

        send = requests.Session.send

        def bounded(session: requests.Session, request: Any, **options: Any) -> Any:
            options |= {"allow_redirects": False, "stream": True, "timeout": TIMEOUT_S}
            try:
                answer = send(session, request, **options)
            except requests.exceptions.ConnectTimeout:
                self.error = "connection"
                raise
            except requests.exceptions.Timeout:
                self.error = "timeout"
                raise
            except Exception as error:
                self.error = "timeout" if "aborted" in str(error) else "connection"
                raise
            try:
                content = answer.raw.read(ANSWER_BYTES, decode_content=True)
            except Exception:  # it broke off; its status came, and decides
                content = b""
            answer.close()
            answer._content, answer._content_consumed = content, True
            self.error, self.status = None, answer.status_code
            self.retry_after = answer.headers.get("Retry-After")
            return answer

        requests.Session.send = bounded  # type: ignore[method-assign, assignment]  # for all plugins


class Log(logging.Handler):
    """Keeps what Apprise warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a line, while there is room."""
        if len(self.text) < MAX_LOG:
            self.text = f"{self.text} {record.getMessage()}"[:MAX_LOG].strip()


def answer_to(request: dict[str, Any], exchange: Exchange, guard: Guard, log: Log) -> dict[str, Any]:
    """Calls Apprise for one URL."""
    import apprise

    exchange.status = exchange.retry_after = exchange.error = None
    guard.refused, log.text = False, ""
    guard.allow(request["allowed"])
    sent: bool | None = None
    limit = 0
    try:
        asset = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY, app_id="Notifier")
        service = apprise.Apprise.instantiate(request["url"], asset=asset)
        if service is None:
            exchange.error = "unknown_url"
        elif request.get("body") is None:
            limit = max(0, service.body_maxlen - (0 if service.title_maxlen > 0 else TITLE_IN_BODY))
        else:
            if "overflow=" not in request["url"]:
                service.overflow_mode = apprise.OverflowMode.SPLIT  # of what does not fit into our parts
            sent = bool(
                service.notify(
                    body=request["body"],
                    title=request["title"],
                    notify_type=apprise.NotifyType(request["type"]),
                    body_format=apprise.NotifyFormat.TEXT,
                )
            )
    except Exception as error:  # plugins raise what they like
        log.text = f"{log.text} {type(error).__name__}: {error}"[:MAX_LOG]
    return {
        "sent": sent,
        "status": exchange.status,
        "retry_after": exchange.retry_after,
        "error": exchange.error,
        # One address of a name may be refused although another one has answered.
        "refused": guard.refused and exchange.status is None,
        "log": log.text,
        "limit": limit,
    }


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.dont_write_bytecode = True
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a plugin prints is no answer
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        import truststore

        truststore.inject_into_ssl()
    import apprise

    apprise.Apprise.instantiate("json://localhost")  # loads the plugins
    exchange, log = Exchange(), Log()
    exchange.watch()
    logging.getLogger("apprise").addHandler(log)
    folder = Path(__file__).resolve().parents[2] / "notifier"
    guard = Guard(_module(folder / "public_address.py"), _module(folder / "allowed_addresses.py"))
    socket.getaddrinfo = guard.look_up
    sys.addaudithook(guard)
    while (request := _read(requests)) is not None:
        answer = json.dumps(answer_to(request, exchange, guard, log)).encode()
        answers.write(len(answer).to_bytes(4, "big") + answer)
        answers.flush()


def _module(path: Path) -> ModuleType:
    """A module of `notifier` without the package, whose import takes a second and more memory."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read(stream: BinaryIO) -> dict[str, Any] | None:
    size = stream.read(4)
    if len(size) < 4:
        return None
    request: dict[str, Any] = json.loads(stream.read(int.from_bytes(size, "big")))
    return request


if __name__ == "__main__":
    main()
