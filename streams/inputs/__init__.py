"""The way in: records as they are fetched become batches for the agents."""
