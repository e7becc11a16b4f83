r"""Plugins: how the engine calls a provider, and how it recalls recorded secrets.

Terms:

- *Built options*: an instance of the plugin's own options Struct.
- *Observer*: a function that makes each call that may send a request, and can measure it. The debug
  log is one.
- *To recall* a recorded option: to evaluate its secrets again, from the configuration or from their
  sources.
- *Lost secret*: a secret whose value is neither in the configuration nor at its sources. Only its
  digest is left.

One call, from left to right:

    options -> resolve references -> build, reveal secrets -> provider -> mark secrets -> Resource
                                                                  |
                                                                  +-> exception -> DtmError

Modules: `calls` makes the calls, `recall` evaluates recorded options, and `lost_secrets` has the
error for a lost secret.

Invariants:

- Secrets are revealed to a provider only.
- Secrets in a provider's result are marked before any other code sees the result.
- A failed `read` raises `DtmError`, whatever the provider raised. Create, update and delete are
  called in `engine.execution.worker`, through `call_plugin`.

    operations = Operations(providers, base_dir, recall)
    live = operations.read(address, options, entry.resource, call)
    options = SecretRecall.of(operations, state).recall_options(entry, "delete")
"""
