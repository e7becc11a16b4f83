"""The options of a plugin or backend, as its Struct declares them.

Terms: an *option* is one field of the Struct; its *canonical name* is in camelCase, its aliases are
older spellings. A *fault* is one thing that is wrong with the options as written.

Invariants: one run finds every fault, with the nearest name where a name is wrong. Options without
faults hold canonical names and values of the declared types; a secret option holds a Secret, and a
reference stays a reference until the other tool is known.

    values, faults = decode({"path": "a", "mode": "0600"}, FileOptions, env=os.environ)
    options = build(values, FileOptions)  # the Struct that the provider gets
"""
