"""Settings: environment variables named `NOTIFIER_…` and a `.env` file, in one class.

`load_settings()` is the one way to get them; it raises SettingsError with one line that names the variable. A
`NOTIFIER_…` variable that is not a setting is reported by `unknown_variables` with the nearest known name.
"""

import os
import re  # for our own constant patterns; never for a person's
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from notifier.allowed_addresses import read_allowed
from notifier.allowed_files import AllowedFiles
from notifier.errors import SettingsError
from notifier.validation import findings, in_words

PREFIX = "NOTIFIER_"
MAX_WAIT_S = 30 * 24 * 60 * 60  # of any waiting time in the settings


def _base_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]


def _split_seconds(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            raise ValueError("must be seconds, separated by commas: 5,300,1800") from None
    return value


def _split_words(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _check_allowed(value: tuple[str, ...]) -> tuple[str, ...]:
    read_allowed(value)
    return value


def _check_folders(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(Path(folder).is_absolute() for folder in value):
        raise ValueError("must be absolute paths, separated by commas")
    return value


def _check_seconds(value: tuple[float, ...]) -> tuple[float, ...]:
    if not value or not all(0 <= part <= MAX_WAIT_S for part in value):
        raise ValueError(f"needs at least one number of seconds, none negative and none above {MAX_WAIT_S:,}")
    return value


# What the database keeps of each kind of record unless it is set otherwise: as long as their topics do.
HISTORY_DAYS: Mapping[str, int] = {
    "messages": 7,
    "attempts": 7,
    "dead_letters": 30,
    "runs": 30,
    "answers": 30,
    "counters": 30,
}
HISTORY_ROWS = 10_000_000
_NUMBER = re.compile("[0-9]{1,15}")
_MAX_DAYS = 36_500
_MAX_ROWS = 10**12


def _split_kept(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    kept: dict[str, int] = {}
    for part in value.split(","):
        name, is_named, number = (text.strip() for text in part.rpartition("="))
        if not _NUMBER.fullmatch(number):
            raise ValueError("must be one number for all, or as attempts=14,dead_letters=60")
        kept |= {name: int(number)} if is_named else dict.fromkeys(HISTORY_DAYS, int(number))
    return kept


def _kept_days(value: Mapping[str, int]) -> Mapping[str, int]:
    return _kept(value, HISTORY_DAYS, _MAX_DAYS)


def _kept_rows(value: Mapping[str, int]) -> Mapping[str, int]:
    return _kept(value, dict.fromkeys(HISTORY_DAYS, HISTORY_ROWS), _MAX_ROWS)


def _kept(value: Mapping[str, int], default: Mapping[str, int], most: int) -> Mapping[str, int]:
    if not value.keys() <= default.keys() or not all(1 <= number <= most for number in value.values()):
        raise ValueError(f"must be one number for all, or numbers from 1 to {most:,} for some of {', '.join(default)}")
    return {**default, **value}


def _servers(value: str) -> str:
    for server in value.split(","):
        if not _SERVER.fullmatch(server.strip()):
            raise ValueError("must be host:port, or several with commas between them: kafka-1:9092,kafka-2:9092")
    return value


# A name, an IPv4 address, or an IPv6 address in brackets; the clients take 9092 where there is no port.
_SERVER = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\],]+)(:[0-9]{1,5})?")


class Settings(BaseSettings):
    """All settings. The variable of a field is `NOTIFIER_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True)

    # --- where things are ---
    data_dir: Path = Field(
        Path("var"), description="Folder of the embedded broker, the SQLite database, the ledgers and the key."
    )
    cache_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_cache_dir("notifier")), description="Folder of downloads."
    )
    database_url: str | None = Field(
        None,
        repr=False,  # it may hold a password
        description="Database of the control API: `postgresql+asyncpg://…`; unset: SQLite in the data folder.",
    )
    http_host: str = Field("127.0.0.1", description="Address that the control API listens on.")
    http_port: int = Field(8000, ge=0, le=65535, description="Port that the control API listens on.")
    mail_host: str = Field(
        "127.0.0.1", description="Address that mails are taken at, where `NOTIFIER_MAIL_PORT` is set."
    )
    mail_port: int | None = Field(
        None, ge=0, le=65535, description="Port that mails are taken at, by SMTP; 0: a free one; unset: none are."
    )
    mail_cert_file: Path | None = Field(
        None, description="PEM file of the certificate with which connections of mails are encrypted (STARTTLS)."
    )
    mail_key_file: Path | None = Field(
        None, description="PEM file of the key of that certificate, if it is not in there."
    )

    # --- Kafka ---
    kafka: Annotated[str, AfterValidator(_servers)] | None = Field(
        None, description="Bootstrap servers, `host:port,…`; unset: the embedded broker of the data folder."
    )
    kafka_port: int = Field(
        19092,
        ge=0,
        le=65535,
        description="Port of the embedded broker; below 32768, out of the clients' own ports; 0: a free one.",
    )
    topic_prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{0,100}$")] = Field(
        "notifier.", description="What every topic's and consumer group's name begins with."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How the broker is spoken to."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How Notifier signs in to the broker, with a SASL protocol."
    )
    kafka_username: str | None = Field(None, description="Name that Notifier signs in to the broker with.")
    kafka_password: SecretStr | None = Field(None, description="Password that Notifier signs in to the broker with.")
    kafka_ca_file: Path | None = Field(
        None, description="PEM file of the authorities that the broker's certificate may be from."
    )
    kafka_cert_file: Path | None = Field(None, description="PEM file of Notifier's own certificate.")
    kafka_key_file: Path | None = Field(None, description="PEM file of the key of Notifier's own certificate.")
    kafka_replication: int = Field(1, ge=1, le=9, description="Replicas of the topics that Notifier creates.")

    kafka_compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "none", description="How the router compresses the deliveries it writes: less disk and network, more CPU."
    )

    # --- teams ---
    teams: Literal["open", "strict"] = Field(
        "open", description="Whether who has a team sees other teams' definitions: `open`, or not: `strict`."
    )

    # --- history ---
    history_days: Annotated[Mapping[str, int], NoDecode, BeforeValidator(_split_kept), AfterValidator(_kept_days)] = (
        Field(
            _kept_days({}),
            description="Days that records are kept in the database: one number for all, or `attempts=14,dead_letters=60`.",
        )
    )
    history_rows: Annotated[Mapping[str, int], NoDecode, BeforeValidator(_split_kept), AfterValidator(_kept_rows)] = (
        Field(
            _kept_rows({}),
            description="How many records are kept in the database at most, the newest: as `history_days`.",
        )
    )

    # --- secrets ---
    secret_key: SecretStr | None = Field(
        None,
        description="Key that secrets are sealed with: 32 bytes in URL-safe base64; unset: made in the data folder.",
    )
    secret_key_old: SecretStr | None = Field(
        None, description="The key before, still opened but no longer sealed with."
    )
    admin_password: SecretStr | None = Field(
        None, description="Password of the account `admin` when it is first created."
    )

    # --- services ---
    telegram_api: BaseUrl = Field("https://api.telegram.org", description="Base URL of the Telegram Bot API.")
    vk_api: BaseUrl = Field("https://api.vk.com", description="Base URL of the VK API.")
    max_api: BaseUrl = Field("https://platform-api2.max.ru", description="Base URL of the MAX bot API.")
    github_api: BaseUrl = Field("https://api.github.com", description="Base URL of the GitHub API.")
    allowed_addresses: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(_split_words), AfterValidator(_check_allowed)
    ] = Field(
        (),
        description="Private addresses, networks and host names that definitions may name, separated by commas.",
        examples=["10.0.0.0/8,mattermost.corp"],
    )

    sqlite_folders: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(_split_words), AfterValidator(_check_folders)
    ] = Field(
        (),
        description="Folders whose SQLite files `sql` producers may read, separated by commas; unset: none.",
        examples=["/srv/reports"],
    )

    # --- delivery ---
    lane_wait_s: float = Field(
        60.0, ge=0, le=MAX_WAIT_S, description="Seconds that a lane waits for its head before it may be overtaken."
    )
    retry_schedule_s: Annotated[
        tuple[float, ...], NoDecode, BeforeValidator(_split_seconds), AfterValidator(_check_seconds)
    ] = Field(
        (5, 30, 300, 1800, 7200, 18000, 36000),
        description="Seconds from each failed attempt to the next, separated by commas; after the last: a dead letter.",
    )

    operators_consumer: str | None = Field(
        None, description="Consumer with a fixed address that is told of paused consumers; unset: nobody is."
    )
    disable_paused_after_days: float | None = Field(
        None,
        gt=0,
        le=365,
        description="Days after which a paused consumer's deliveries become dead letters; unset: never.",
    )

    # --- scripts ---
    script_sandbox: Literal["require", "off"] = Field(
        "require", description="`off` runs scripts without a sandbox where none is possible. Know what you do."
    )

    # --- logs ---
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe line that is logged."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="`json`: one object a line; `text`: for people; `auto`: text on a terminal, else JSON."
    )

    @property
    def embedded_broker(self) -> bool:
        """Whether the broker is the embedded one of the data folder."""
        return self.kafka is None

    @property
    def services(self) -> Mapping[str, str]:
        """Base URLs of the outside services, by name: `telegram`, `vk`, `max`, `github`. Plugins find them in their context."""
        return {"telegram": self.telegram_api, "vk": self.vk_api, "max": self.max_api, "github": self.github_api}

    @property
    def files(self) -> AllowedFiles:
        """The files that definitions may name."""
        return AllowedFiles(folders=tuple(map(Path, self.sqlite_folders)), never=(self.data_dir,))

    @property
    def server_database(self) -> bool:
        """Whether the database is a server's, and not a file."""
        return self.database_url is not None and not self.database_url.startswith("sqlite")


def variable(field: str) -> str:
    """The environment variable of a field of Settings."""
    return PREFIX + field.upper()


def load_settings(env_file: Path | None = Path(".env"), **overrides: Any) -> Settings:
    """Reads the settings; `overrides` win over the environment, the environment over `env_file`.

    Raises SettingsError, one line that names every variable that is wrong.
    """
    try:
        return Settings(_env_file=env_file, **overrides)
    except ValidationError as error:
        wrong = [
            f"{variable(str(found['loc'][0])) if found['loc'] else PREFIX + '…'} {in_words(found)}"
            for found in findings(error)
        ]
        raise SettingsError("; ".join(wrong)) from None
    except (UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"the file {env_file} cannot be read: {error}") from None


def unknown_variables(env_file: Path | None = Path(".env")) -> list[str]:
    """A sentence for each `NOTIFIER_…` variable that is not a setting, with the nearest that is."""
    known = [variable(field) for field in Settings.model_fields]
    given = set(os.environ) | set(dotenv_values(env_file) if env_file and env_file.is_file() else ())
    sentences = []
    for name in sorted(given):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = get_close_matches(name.upper(), known, n=1)
            sentences.append(f"{name} is not a setting of Notifier" + (f"; did you mean {near[0]}?" if near else ""))
    return sentences
