"""Email: the consumer, its mails and its connections to a mail server."""

from consumers.email.email import Email

__all__ = ["Email"]
