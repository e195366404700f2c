"""Schema: builds the GraphQL schema, and checks that every root field and every relation has a scope."""

from collections.abc import Mapping
from functools import cache

import graphene  # type: ignore[import-untyped]  # graphene has no types
from graphql import GraphQLList, GraphQLNonNull, GraphQLObjectType
from graphql.type import GraphQLSchema

from control_api.access.actor import Scope
from control_api.graphql import jobs, parked
from control_api.graphql.definition_types import kind_types, object_type
from control_api.graphql.dry_runs import dry_run_type
from control_api.graphql.mutations import mutation_fields
from control_api.graphql.queries import query_fields


@cache
def build_schema() -> GraphQLSchema:
    """The schema, built once. Raises RuntimeError when a root field or a relation has no scope."""
    kinds, dry_run = kind_types(), dry_run_type()
    job = jobs.job_type()
    fields = query_fields(kinds, dry_run) | jobs.query_fields(job) | parked.query_fields()
    query = object_type("Query", "What can be read.", fields)
    mutation = object_type("Mutation", "What can be changed and run.", mutation_fields(kinds, dry_run, job))
    schema: GraphQLSchema = graphene.Schema(query=query, mutation=mutation).graphql_schema
    scopes_of(schema)
    return schema


def scopes_of(schema: GraphQLSchema) -> Mapping[str, Scope]:
    """The scope of every root field and relation, by `Type.field`: `Query.users`, `Configuration.users`.

    Every other field is a part of an object that the caller has already been given. Raises RuntimeError for a missing scope.
    """
    kinds = {name.removesuffix("Page") for name in schema.type_map if name.endswith("Page")}
    roots = {schema.query_type, schema.mutation_type}
    scopes: dict[str, Scope] = {}
    for type_ in schema.type_map.values():
        if not isinstance(type_, GraphQLObjectType) or type_.name.startswith("__"):
            continue
        for name, field in type_.fields.items():
            scope = getattr(field.resolve, "scope", None)
            if scope is not None:
                scopes[f"{type_.name}.{name}"] = scope
            elif type_ in roots or (type_.name in kinds and _below(field.type) in kinds):
                raise RuntimeError(
                    f"{type_.name}.{name} says no scope: resolve it by control_api.graphql.context.guarded"
                )
    return scopes


def _below(type_: object) -> str:
    while isinstance(type_, GraphQLNonNull | GraphQLList):
        type_ = type_.of_type
    return str(type_)
