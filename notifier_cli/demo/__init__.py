"""`notifier demo`: the whole pipeline on this computer's own data, with an account of it."""
