"""Redrive: sends dead letters again, each once, as a job that any API process goes on with."""
