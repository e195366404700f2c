"""Silence: says when nothing came of a producer for longer than is expected, and when it is back."""
