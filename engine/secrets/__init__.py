"""Secrets, and how they are kept out of the state, the log and every text.

Terms: *marking* makes a value a `Secret` because of where it stands or what it holds. *Sealing*
replaces a secret by its digest, an HMAC under the salt of the state. *Redaction* replaces a secret
in texts by `(sensitive)`.

Invariants: equal secrets at different places have different digests. A digest is stretched once
for each distinct secret of a run. A secret of fewer than six characters is sealed, but not
redacted: its gaps in innocent texts would tell what it is.

    live = inherit_sensitivity(live, entry.resource)
    sealed = Sealer(state.salt).seal_map(options, address)
    text = redactor.redact(text)
"""
