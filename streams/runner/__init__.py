"""The runner: does the work of a tick once, under a lease."""
