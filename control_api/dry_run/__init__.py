"""Dry runs: what a draft of a configuration would have delivered of the messages of the past."""
