"""What the texts of a configuration would be, for each recipient and consumer. Nothing is sent."""
