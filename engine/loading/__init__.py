"""From configuration files to a `Config`, or to every problem that they have.

Terms: a *source* is what the user asked for: a file or a directory, variables, the environment. The
*catalog* gives the options Struct of a plugin name. An *app* is expanded into tools.

Invariants: one run reports every problem, each with file, line and column. Nothing is silently
ignored. No provider and no store is asked.

    config = load(ConfigSource(Path("config.yaml")), catalog, state_url=parse, backends=backends)
"""
