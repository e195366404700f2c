"""The router: which deliveries a message makes."""
