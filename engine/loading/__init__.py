"""Loading: read configuration files and return a `Config`, or report every problem in them.

Terms:

- *Section*: the value of a top-level key, with its place in a file.
- *Binding*: the value of a variable before rendering, with its place.
- *Rendering*: replacing `[[ name ]]` and `[[ env NAME ]]` by values.
- *Catalog*: the options Struct of each plugin, found by the plugin's name.
- *Tool entry*: a tool as the user wrote it. An *app* expands to several tool entries.

The steps, each in a module of its own:

    files             read the files and split them into sections
    variable_sources  choose the value of each variable: default < env < vars < file < flag
    variables         render values
    state_settings    check `state` and `pluginDir`
    apps              expand each app to tool entries
    tools             check each tool against the catalog, then the dependencies of all
    loader            run these steps and return the Config

`file_schema` describes the file format; `problems` collects the problems.

Invariants:

- One run reports every problem, with file, line and column. A file that is not valid YAML reports
  its first error only.
- An unknown key is an error.
- References to other tools stay symbolic: their values are known only during an apply.
- Loading calls no provider and opens no state.

    config = load(ConfigSource(Path("config.yaml")), catalog, state_url=parse, backends=backends)
"""
