"""What is secret, and how it is kept out of the state, the log and every text.

Terms: *marking* says that a value is secret because of where it stands or what it holds. *Sealing*
replaces a secret by its digest, an HMAC under the salt of the state. *Redaction* replaces it in
texts by `(sensitive)`.

Invariants: no secret leaves the engine but to the provider that needs it. Equal secrets at
different places have different digests. A digest is made once for each distinct secret of a run.

    sealed = Sealer(state.salt).seal_map(options, address)
    text = redactor.clean(text)
"""
