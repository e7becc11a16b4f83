"""Secrets: mark them in memory, redact them in texts, and keep them out of the state.

Terms:

- *Secret*: a value in memory that is wrapped in `Secret`, with its sources, such as `env TOKEN`.
- *Marking*: wrapping a value, because of its path or because of what it contains.
- *Redaction*: replacing a secret in a text by `(sensitive)`.
- *Sealing*: replacing a secret by its digest, an HMAC whose key depends on the salt of the state.
- *Recall*: evaluating the sources of a digest again; see `engine.plugins`.

What becomes of a secret value:

    environment, sensitive variable,          result of a provider
    option with Field(secret=True)            |
        |                                     | marked: a declared secret output, a known
        | wrapped when it is loaded           | secret, or a path that was secret before
        v                                     v
    +------------------------------------------------+
    |               Secret in memory                 | <-------------+
    +------------------------------------------------+               |
        |                  |                   |                     | recalled: the digest shows
        | revealed         | redacted          | sealed              | that the source still gives
        v                  v                   v                     | the same value
    provider           output, logs,       Digest in the state ------+
                       errors:                 |
                       "(sensitive)"           | its sources are gone
                                               v
                                           lost: an error if a call needs the value

The rules:

    where                              | a secret is
    -----------------------------------+----------------------------------------------------
    options passed to a provider       | revealed
    output, log lines, errors, events  | redacted if it has six or more characters
    options, attributes and outputs    | sealed
      in the state                     |
    digest of the configuration        | hashed with scrypt
    identity, such as a path or name   | refused: the state stores identities in plain text
    ID of a resource                   | redacted in the state; the identity finds the resource

Invariants:

- A text that contains a secret is a secret.
- Equal secrets at different paths have different digests, so that the state does not show which
  tools share a secret.
- A run stretches each distinct secret once (scrypt), not once for each digest.
- A secret of fewer than six characters is sealed but not redacted: it occurs in unrelated texts by
  chance, and each `(sensitive)` in such a text would reveal it.

    live = inherit_sensitivity(live, entry.resource)
    sealed = Sealer(state.salt).seal_map(options, address)
    text = redactor.redact(text)
"""
