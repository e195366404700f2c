"""The commands of `notifier`, one file per noun; `commands` is their table. It may import everything, and nothing imports it."""
