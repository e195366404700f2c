"""GitHub: the producer, and what its webhooks become."""

from producers.github.github import GitHub, GitHubParameters
from producers.github.webhook import read_webhook

__all__ = ["GitHub", "GitHubParameters", "read_webhook"]
