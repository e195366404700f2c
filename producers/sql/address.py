"""Address: where a database is, read from a SQLAlchemy URL. The driver that it names plays no part."""

import re  # for our own constant pattern
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["postgresql", "mysql", "sqlite"]
Tls: TypeAlias = Literal["prefer", "require", "verify", "off"]

_KINDS: dict[str, Kind] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
}
_HOST = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)  # no path of a socket, and no list
_PORTS: dict[Kind, int] = {"postgresql": 5432, "mysql": 3306, "sqlite": 0}
_FORM = (
    "must be postgresql://user:password@host/name, mysql://user:password@host/name or sqlite:////path; write signs of the"
    " password such as @ and / as %40 and %2F"
)
_TLS: dict[str, Tls] = {  # of `sslmode` and `ssl`, as drivers of PostgreSQL know them
    "disable": "off",
    "allow": "prefer",
    "prefer": "prefer",
    "require": "require",
    "verify-ca": "verify",
    "verify-full": "verify",
    "true": "require",
    "false": "off",
}


@dataclass(frozen=True, kw_only=True)
class Address:
    """A database."""

    kind: Kind
    host: str = ""
    port: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    name: str = ""  # of the database; of SQLite the file's path
    tls: Tls | None = None  # None: the URL does not say


def read_address(url: str) -> Address:
    """The database of a URL. Raises ValueError, whose text does not repeat the URL."""
    from sqlalchemy.engine import make_url  # it takes long to import, and most commands need none
    from sqlalchemy.exc import ArgumentError

    try:
        parts = make_url(url.strip())
        kind = _KINDS.get(parts.get_backend_name())
    except (ArgumentError, ValueError):
        raise ValueError(_FORM) from None
    if kind is None:
        raise ValueError(_FORM)
    tls: Tls | None = None
    for name, value in parts.query.items():
        if kind == "mysql" and name == "charset":
            continue  # UTF-8 is spoken always
        if kind != "postgresql" or name not in ("ssl", "sslmode") or value not in _TLS:
            raise ValueError(
                f"has the option {name!r}, which is not read here; see the parameters `tls` and `authority`"
            )
        tls = _TLS[str(value)]
    if kind == "sqlite":
        return Address(kind=kind, name=_file(parts.database, bool(parts.host)))
    # Without them drivers take those of the machine: its user, its socket, its file of passwords.
    missing = [
        word
        for word, part in (("user", parts.username), ("host", parts.host), ("database", parts.database))
        if not part
    ]
    if missing or not parts.host or not _HOST.fullmatch(parts.host):
        raise ValueError(
            f"names no {missing[0]}: it {_FORM}" if missing else f"needs one host name or address: it {_FORM}"
        )
    return Address(
        kind=kind,
        host=parts.host,
        port=parts.port or _PORTS[kind],
        username=parts.username or "",
        password=str(parts.password or ""),
        name=parts.database or "",
        tls=tls,
    )


def _file(path: str | None, has_host: bool) -> str:
    if has_host or not path or not path.startswith("/") or "\0" in path:
        raise ValueError("needs the absolute path of a file: sqlite:////srv/reports/stock.db, with four slashes")
    return path
