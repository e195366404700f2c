"""`python -m notifier` runs the command line."""

from notifier_cli.commands import main

if __name__ == "__main__":
    main()
