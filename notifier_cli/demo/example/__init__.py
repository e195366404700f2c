"""The example that `notifier demo` loads."""
