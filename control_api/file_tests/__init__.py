"""The tests that stand beside definitions in YAML files: what a message must come to, tried without a broker or a database."""
