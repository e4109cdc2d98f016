"""Real applications on this package, each in an environment of its own."""
