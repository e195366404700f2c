"""Wishes: what people ask of us in the chats of consumers, done as ordinary changes of their definitions."""
