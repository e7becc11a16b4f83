"""The options of a plugin or backend, as its Struct declares them.

Terms: an *option* is one field of the Struct; its *canonical name* is camelCase, its aliases are
older spellings. A *fault* is one thing that is wrong with the options as written.

Invariants: every fault is found in one run, each with the nearest name where there is one. Decoded
options hold canonical names and declared types only.

    values, faults = decode(written, MyOptions, env=os.environ)
    built = build(values, MyOptions)
"""
