"""The room that checks and decodes the options of a plugin or backend by their Struct.

Terms:

- An *option* is one field of the Struct.
- Its *canonical name* is in camelCase. Its *aliases* are older spellings.
- A *fault* is one problem of the options that the user wrote.

Invariants:

- One run finds all faults. A fault about an unknown option suggests a similar name.
- Options without faults have canonical names and values of the declared types.
- A secret option is a Secret. A reference stays a reference until the outputs of the other tool
  are known.

An example:

    values, faults = decode({"path": "a", "mode": "0600"}, FileOptions, env=os.environ)
    options = build(values, FileOptions)  # the Struct that the provider gets
"""
