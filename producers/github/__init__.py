"""GitHub: the producer, and what its webhooks become."""

from producers.github.github import GitHub, GitHubParameters
from producers.github.renames import Renames, refusal_of_organization
from producers.github.repository import Repository
from producers.github.webhook import read_webhook

__all__ = ["GitHub", "GitHubParameters", "Renames", "Repository", "read_webhook", "refusal_of_organization"]
