"""The database's schema, step by step: one file a step in `versions/`. `control_api.migrate` runs them."""
