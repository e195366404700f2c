"""The ticker: writes a tick when a configuration is due."""
