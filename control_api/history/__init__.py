"""The history: attempts, runs and dead letters, copied from the topics into the database and asked for."""
