"""What every HTTP route shares: bodies, problems, authentication, idempotency, pages."""
