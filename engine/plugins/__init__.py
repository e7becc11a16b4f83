"""How the engine calls a provider: options built, secrets marked, exceptions mapped.

Terms: *built* options are an instance of the plugin's own Struct. To *recall* a recorded option is
to evaluate its secrets again, from the config or from their source. A secret is *lost* if neither
gives it: only its digest is left.

Invariants: secrets are revealed for a provider alone. What a provider reports has its secrets
marked before anything else sees it. A `read` that fails raises `DtmError`, whatever the provider
raised; create, update and delete are called in `engine.execution.worker`, through `call_guarded`.

`calls` holds the calls, `recall` the recorded options, `lost_secrets` the error of a lost one.

    operations = Operations(providers, base_dir, recall)
    live = operations.read(address, options, entry.resource, call)
    options = SecretRecall(operations, sealer).recall_options(entry, "delete")
"""
