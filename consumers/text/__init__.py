"""The text of a message: the default one, and templates."""
