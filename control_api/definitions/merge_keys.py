"""Merge keys: `<<: *common` and `<<: [*a, *b]` in YAML, as in compose files. A quoted "<<" is a field like any other."""

import yaml

_KEY = "<<"


def is_merge_key(node: yaml.Node) -> bool:
    """Whether a field's name is the plain `<<`."""
    return isinstance(node, yaml.ScalarNode) and node.value == _KEY and not node.style


def merged_objects(value: yaml.Node) -> list[yaml.MappingNode] | None:
    """The objects that a merge key names, the one that counts most first; None: it names something else."""
    parts: list[yaml.Node] = value.value if isinstance(value, yaml.SequenceNode) else [value]
    found = [part for part in parts if isinstance(part, yaml.MappingNode)]
    return found if len(found) == len(parts) else None
