"""The SMTP door: takes mails for producers that make messages of them."""
