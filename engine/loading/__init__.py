"""From configuration files to a `Config`, or to every problem that they have.

Terms: a *section* is a value of the configuration with its place. A *binding* is the value of a
variable as given, and where; *rendering* puts variables into values. The *catalog* gives the
options Struct of a plugin name. A *tool entry* is a tool as written, an *app* becomes several.

    files --> variable_sources --> variables --> state_settings, apps, tools --> loader: Config
              (which value wins)   (rendering)   (checks by file_schema and the catalog)

Invariants: one run reports every problem, with file, line and column where the cause stands in a
file; only a file that is not YAML reports its first error alone. An unknown key is an error.
References to other tools stay symbolic. No method of a provider and no store is called.

    config = load(ConfigSource(Path("config.yaml")), catalog, state_url=parse, backends=backends)
"""
