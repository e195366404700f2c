"""`notifier schema`: the JSON Schema of YAML files, for editors."""

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of the YAML files that `notifier apply` reads, with the plugin types that are installed here.

    Editors complete and check by it:

    \b
    notifier schema > notifier.schema.json
    and as the first line of the YAML file, for the YAML language server (VS Code, Neovim, …):
    # yaml-language-server: $schema=notifier.schema.json

    A running API has it at /api/v1/schemas/definitions.
    """
    from control_api.definitions.yaml_schema import definitions_schema
    from control_api.registry import load_registry

    click.echo(json.dumps(definitions_schema(load_registry()), indent=2, ensure_ascii=False))
