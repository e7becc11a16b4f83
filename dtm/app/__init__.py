"""Use cases: what the commands do, without printing and without a command line."""
