"""Access: accounts, sessions, tokens and what each may do."""
