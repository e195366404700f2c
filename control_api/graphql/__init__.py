"""GraphQL at `/graphql`, over the same functions as REST: each only translates.

    endpoint ─► limits ─► schema ─┬─ queries ───────────┐
                                  ├─ mutations ─────────┼─► services, records, ticks
                                  ├─ definition_types ──┘   (relations in batches, by `loader`)
                                  └─ record_types

Every root field and every relation names its scope where it is made (`context.guarded`); `schema` refuses one without.
"""
