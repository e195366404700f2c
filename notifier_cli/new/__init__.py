"""`notifier new`: a package with a producer, filter or consumer of one's own."""
