"""Mail: the producer of messages that are mails, and how a mail is read."""

from producers.mail.mail import Mail, MailParameters

__all__ = ["Mail", "MailParameters"]
