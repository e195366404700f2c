"""The commands of `notifier`, one file per noun; `commands` is their table. It stands above everything: nothing imports it."""
