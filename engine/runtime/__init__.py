"""The room of clock, sleep, randomness and retries, which tests can replace.

Terms:

- An *environment* is a value with everything that a run takes from its surroundings: clock, sleep,
  randomness, and the retry policy for stores.
- A *retry policy* defines how often a failed call is made again, and the pauses between the calls.
- A *fallback file* keeps bytes that could not be stored where they belong.

Invariants:

- The other rooms take time, pauses and randomness from an environment, or from parameters with the
  real ones as defaults. There are two exceptions: group commit measures its own writes, and a claim
  draws the lineage and the salt of a new state.
- A call is made again only if it certainly had no effect, or if the provider allows it. For a write
  that may have had its effect, `StateStore.swap` finds out whether it had.

An example:

    environment = Environment(clock=clock, sleep=clock.sleep)  # the clock of a test
    found = environment.retry(lambda: store.read(key))
"""
