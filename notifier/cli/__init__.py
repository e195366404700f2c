"""The commands of `notifier`, one file per noun. Only these, and `notifier.__main__`, import from the layers above."""
