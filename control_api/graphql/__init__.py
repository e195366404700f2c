"""GraphQL at `/graphql`, over the same functions as REST: each only translates.

    route ─► limits (how much may be asked) ─► schema ─┬─ queries ───┐
                                                       ├─ mutations ─┼─► services, records, ticks
                                                       └─ kinds ─────┘   (relations by `loader`, many at a time)

Every root field and every relation says its scope where it is made (`context.guarded`); `schema` refuses one that does not.
"""
