"""What `notifier demo` loads: definitions and their scripts."""
