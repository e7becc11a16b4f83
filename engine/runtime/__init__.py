"""Clock, sleep, randomness and patience, handed down as parameters so that tests can replace them.

Terms: an *environment* is what a session takes from its surroundings. A *retry policy* says which
failures of a store or a provider may pass, how often and after what pause the call is made again.
A *fallback file* keeps bytes that could not be stored where they belong.

Invariants: no module of the engine outside this room reads a clock, sleeps or draws a random number
by itself. Retries happen only here, in `retry`.

    environment = Environment(sleep=fake_sleep)
    environment.retry(lambda: store.read(key))
"""
