"""Benchmarks. `make bench` runs them all, `python -m bench NAME` one. Figures are printed and never asserted."""
