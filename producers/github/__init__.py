"""GitHub: the producer, and what its webhooks become."""

from producers.github.github import GitHub, GitHubParameters
from producers.github.repository import Repository, former_name, repository_in
from producers.github.webhook import read_webhook

__all__ = ["GitHub", "GitHubParameters", "Repository", "former_name", "read_webhook", "repository_in"]
