"""Clock, sleep, randomness and retries as parameters, so that tests can replace them.

Terms: an *environment* is the one value that a run takes from its surroundings: clock, sleep,
randomness, and how patiently a store is asked. A *retry policy* says how often a failed call is
made again, and after what pauses. A *fallback file* keeps bytes that could not be stored where
they belong.

Invariants: the other rooms take time, pauses and jitter from an environment or from parameters that
default to the real ones. Two things are never replaced: group commit times its own writes, and a
claim draws the lineage and the salt of a new state. A retry makes only calls again that surely had
no effect, or whose provider allows it; a write that may have arrived is for `StateStore.swap` to
find out about.

    environment = Environment(clock=clock, sleep=clock.sleep)   # a test's own clock
    found = environment.retry(lambda: store.read(key))
"""
