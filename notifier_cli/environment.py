"""What every command does first: read the settings, and say which variables are none."""

import click

from notifier.settings import Settings, load_settings, unknown_variables


def read_settings() -> Settings:
    """The settings; a warning on standard error for each `NOTIFIER_…` variable that is not one. Raises SettingsError."""
    settings = load_settings()
    for sentence in unknown_variables():
        click.echo(f"notifier: warning: {sentence}", err=True)
    return settings
