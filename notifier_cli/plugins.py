"""`notifier plugins`: which types of producers, filters and consumers are installed here."""

import json
from typing import Any

import click

from notifier.errors import UnknownName


@click.command()
@click.argument("type_", metavar="[TYPE]", required=False)
@click.option("--kind", type=click.Choice(["producer", "filter", "consumer"]), help="Only these.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print what GET /api/v1/plugins answers as items, schemas included."
)
def plugins(type_: str | None, kind: Any, as_json: bool) -> None:
    """List the plugin types that are installed here, or show one with its parameters.

    \b
    notifier plugins --kind filter
    notifier plugins telegram
    """
    from control_api.definitions.plugins import plugin_items
    from control_api.registry import load_registry

    items = [item for item in plugin_items(load_registry(), kind) if type_ in (None, item["type"])]
    if type_ is not None and not items:
        raise UnknownName("plugin type", type_)
    if as_json:
        click.echo(json.dumps(items, ensure_ascii=False, indent=2))
        return
    for item in items:
        click.echo(f"{item['kind']:<9} {click.style(str(item['type']), bold=True):<18} {item['description']}")
        if type_ is not None:
            _show_parameters(item["parameters"])


def _show_parameters(schema: Any) -> None:
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        needed = " (required)" if name in required else ""
        click.echo(f"    {name}{needed}: {field.get('description', '')}")
