"""Writes the reference pages from the code: settings.md, plugins.md and topics.md. `python docs/reference.py`, by `make docs`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

import consumers
import filters
import producers
from notifier.plugin import secret_fields
from notifier.settings import Settings, variable
from notifier.topics import DAY_MS, DELIVERIES, TOPICS, Topic, deliveries

HERE = Path(__file__).parent


def settings_page() -> str:
    """Every environment variable."""
    lines = [
        "# Settings",
        "",
        "Environment variables, or lines of a file `.env` in the folder where a command is started; the environment wins. A bad value",
        "ends the command with one line that names the variable; a `NOTIFIER_…` variable that is not listed here is a warning.",
        "",
        "| variable | default | what it is |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "the user's cache folder" if name == "cache_dir" else _default(field.default)
        lines.append(f"| `{variable(name)}` | {default} | {_cell(field.description or '')} |")
    lines += [
        "",
        "## Proxies and authorities",
        "",
        "The outside services are reached as other programs reach them, by variables of the environment alone: `HTTPS_PROXY`, `HTTP_PROXY`,",
        "`ALL_PROXY` (`http://host:port` or `https://host:port`, with `name:password@` where it asks) and `NO_PROXY` (names, domains, networks",
        "such as `10.0.0.0/8`). Certificates are checked against the machine's authorities, or those of `SSL_CERT_FILE` or `SSL_CERT_DIR`.",
        "Names are resolved anew for each connection.",
    ]
    return "\n".join(lines) + "\n"


def plugins_page() -> str:
    """Every plugin type with its parameters."""
    lines = [
        "# Plugins",
        "",
        "The types of producers, filters and consumers, and what their `parameters` may hold. Unknown parameters are refused.",
        "*Secret* ones are sealed before they are stored, and never shown again. A byte order mark before a secret and line ends behind it",
        "are left out; blanks and characters that cannot be seen at its ends are refused.",
    ]
    for heading, built_in in (
        ("Producers", producers.BUILT_IN),
        ("Filters", filters.BUILT_IN),
        ("Consumers", consumers.BUILT_IN),
    ):
        lines += ["", f"## {heading}"]
        for plugin in built_in:
            lines += [
                "",
                f"### `{plugin.type}`",
                "",
                plugin.describe(),
                "",
                "| parameter | default | what it is |",
                "|---|---|---|",
            ]
            secrets = secret_fields(plugin.Parameters)
            for name, field in plugin.Parameters.model_fields.items():
                default = (
                    "*required*" if field.is_required() else _default(field.get_default(call_default_factory=True))
                )
                secret = "*secret.* " if name in secrets else ""
                lines.append(f"| `{name}` | {default} | {secret}{_cell(field.description or '')} |")
    return "\n".join(lines) + "\n"


def topics_page() -> str:
    """The table of topics."""
    lines = [
        "# Topics",
        "",
        "Names begin with `NOTIFIER_TOPIC_PREFIX` (`notifier.`). Values are UTF-8 JSON objects; `v` is the version of the record, absent = 1.",
        "A field that a record does not have is null; numbers and words such as `trigger`, `attempt` and `number` are written even where they are",
        "the usual ones.",
        "Keys are partitioned as by Kafka's Java client (murmur2). The first process that needs a topic creates it from this table.",
        "",
        "| topic | key | value | partitions | kept |",
        "|---|---|---|---|---|",
    ]
    for topic in (*TOPICS, deliveries("<consumer>")):
        partitions = "a parameter of the consumer" if topic.name.startswith(DELIVERIES) else str(topic.partitions)
        lines.append(f"| `{topic.name}` | {_cell(topic.key)} | {topic.value} | {partitions} | {_kept(topic)} |")
    lines += [
        "",
        "On `parked` a record without value whose key is `cancel ` and an id, with the header `cancel`, asks that the delivery be",
        "[cancelled](redrive.md#what-is-parked). Records that were redriven have the header `redriven_at`.",
        "",
        "On `status` the records of the kinds `link` and `wish` are what people ask in chats, each a Wish that the API answers under its key.",
    ]
    return "\n".join(lines) + "\n"


def _kept(topic: Topic) -> str:
    days = None if topic.retention_ms is None else f"{topic.retention_ms // DAY_MS} days"
    return " and ".join(filter(None, ("compacted" if topic.compacted else None, days))) or "for good"


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, tuple):
        return "`" + ",".join(str(part) for part in value) + "`" if value else "none"
    if isinstance(value, Mapping) and value:
        return "`" + ",".join(f"{name}={part}" for name, part in value.items()) + "`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != {} else "none"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


PAGES = {"settings.md": settings_page, "plugins.md": plugins_page, "topics.md": topics_page}


def main() -> None:
    """Writes the pages."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
