"""Apprise: the consumer that reaches services by the URLs of Apprise."""

from consumers.apprise.apprise import Apprise

__all__ = ["Apprise"]
