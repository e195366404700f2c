"""Limits of one GraphQL request, checked on its text and its syntax tree, before anything is looked up.

The size of the answer, which lists in lists multiply, is limited by `GraphQLContext.spend`.
"""

from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
    specified_rules,
    validate,
)
from graphql.type import GraphQLSchema

from control_api.graphql.errors import too_complex

MAX_CHARACTERS = 15_000
MAX_TOKENS = 1_000
MAX_DEPTH = 8  # of fields within fields
MAX_ALIASES = 30
MAX_FIELDS = 1_000  # with fragments expanded: a chain of fragments can double with each link
_MAX_FRAGMENTS = 20  # within each other
_MAX_ERRORS = 20  # in one answer


def read_document(text: str) -> DocumentNode:
    """The syntax tree. Raises GraphQLError for a syntax error and for a query beyond a limit."""
    if len(text) > MAX_CHARACTERS:
        raise too_complex(f"the query has more than {MAX_CHARACTERS} characters; put values into `variables`")
    document = parse(text, max_tokens=MAX_TOKENS)
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    measure = _Measure(fragments)
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            measure.check(node)
    return document


def check_document(schema: GraphQLSchema, document: DocumentNode) -> list[GraphQLError]:
    """The violations of GraphQL's rules. An error suggests no names; the schema shows them."""
    return validate(schema, document, specified_rules, max_errors=_MAX_ERRORS, hide_suggestions=True)


@dataclass(frozen=True)
class _Size:
    depth: int = 0
    aliases: int = 0
    fields: int = 0


class _Measure:
    """Sizes of selections with their fragments expanded. Each fragment is measured once, so the time is linear."""

    def __init__(self, fragments: dict[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._sizes: dict[str, _Size] = {}
        self._open: list[str] = []  # the fragments around the node at hand

    def check(self, operation: OperationDefinitionNode) -> None:
        """Raises GraphQLError where the operation is beyond a limit."""
        size = self._selections(operation.selection_set)
        for what, count, most in (
            ("levels of fields", size.depth, MAX_DEPTH),
            ("aliases", size.aliases, MAX_ALIASES),
            ("fields", size.fields, MAX_FIELDS),
        ):
            if count > most:
                raise too_complex(f"the query has more than {most} {what}; ask for less at a time", operation)

    def _selections(self, selections: SelectionSetNode | None) -> _Size:
        depth = aliases = fields = 0
        for node in selections.selections if selections is not None else ():
            if isinstance(node, FieldNode):
                below = self._selections(node.selection_set)
                # Introspection is deep by nature; graphql-core has a rule for its depth.
                level = 1 if node.name.value in ("__schema", "__type") else below.depth + 1
                size = _Size(level, below.aliases + (node.alias is not None), below.fields + 1)
            elif isinstance(node, FragmentSpreadNode):
                size = self._fragment(node.name.value)
            else:
                size = self._selections(node.selection_set)  # type: ignore[attr-defined]  # an inline fragment
            depth = max(depth, size.depth)
            aliases += size.aliases
            fields += size.fields
        return _Size(depth, aliases, fields)

    def _fragment(self, name: str) -> _Size:
        known = self._sizes.get(name)
        if known is not None:
            return known
        fragment = self._fragments.get(name)
        if fragment is None:
            return _Size()  # an unknown fragment; the rules of GraphQL report it
        if name in self._open or len(self._open) >= _MAX_FRAGMENTS:
            raise too_complex(f"fragments are more than {_MAX_FRAGMENTS} deep in each other", fragment)
        self._open.append(name)
        self._sizes[name] = self._selections(fragment.selection_set)
        self._open.pop()
        return self._sizes[name]
