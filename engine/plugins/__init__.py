"""How the engine calls a provider: options built, secrets marked, exceptions mapped.

Terms: *built* options are the plugin's own Struct. To *recall* a recorded option is to evaluate its
secrets again, from the config or from where they came from.

Invariants: a provider gets revealed values and nothing else does. Whatever a provider raises becomes
a `DtmError`. What a provider reports has every secret marked before anybody else sees it.

    resource = providers.read(address, options, recorded, call)
"""
