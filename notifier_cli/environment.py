"""The first step of every command: its settings, with a warning for each unknown variable."""

import click

from notifier.settings import Settings, load_settings, unknown_variables


def read_settings() -> Settings:
    """The settings. Warns on standard error of each unknown `NOTIFIER_…` variable. Raises SettingsError."""
    settings = load_settings()
    for sentence in unknown_variables():
        click.echo(f"notifier: warning: {sentence}", err=True)
    return settings
