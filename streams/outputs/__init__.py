"""The way out: deliveries and attempts as record batches, acknowledged before an offset moves."""
