"""Providers: the objects behind the plugins that ship with dtm. Each talks to one system.

One module or one room per system: `data`, `file`, `directory` and `command` for this machine,
`scaffolding/` and `ci/` for files in git repositories, `argocd` for Argo CD. Modules whose name
begins with an underscore are shared by providers: `_git/` (repositories), `_process/` (programs),
`_local` (paths and permissions), `_image` (container images). The table `BUILT_IN` in
`dtm/plugins.py` maps each plugin name to its provider.

Terms: a *plugin* is what a user names in the config; its *provider* is the object that does the
work. The *options* of a provider are one Struct, from which dtm derives the check, the JSON Schema,
the sample config and the reference page. Its *outputs* are the values that other tools can refer
to. *Attributes* are what `read` reports; dtm compares them to find drift.

Invariants:
- A provider imports the root of `engine` and the shared modules, but no room of `engine`.
- It keeps nothing between two calls. All it needs is in the options, the resource and the call.
- It raises the errors of `engine.errors`. dtm reports any other exception as a fault of the plugin.
- `create` completes a create that was interrupted. It accepts an existing resource only if the
  interrupted create may have left it, such as an empty directory. It refuses any other.

To add an option:
1. Add a field with a default to the options Struct (for `file`: `FileOptions` in `file.py`). Use
   `Field(replace=True)` if a change must replace the resource.
2. Use it in the provider class. If it needs a program, a variable or a path, check it in one of the
   optional protocols of `engine.ports`, `HasRequirements` or `HasInputFiles`. dtm calls them before
   the first change of a run.
3. Add a test next to the others (`tests/providers/test_file.py`). If `read` reports the option as
   an attribute, add its drift to the trial of the plugin in `dtm/trials/`. For `file`, `directory`
   and `command` also add it to the table in `tests/providers/test_drift_local.py`.
4. Run `python docs/generate.py`, which writes the reference pages, and describe the option in
   `CHANGELOG.md`.

To add a provider: write a module with an options Struct, an outputs Struct and a class that
satisfies `engine.ports.Provider`. Add a row to `BUILT_IN` and a trial to `dtm/trials/`: with it
`tests/providers/test_promises.py` checks every promise of the protocol. Add tests and run
`python docs/generate.py`.

    call = Call(Address("file", "a"), base_dir=Path("."))
    options = FileOptions(path="hello.txt", content="hello")
    resource = FileProvider().create(options, call)
    resource.outputs  # {"path": "hello.txt", "sha256": "2cf24dba..."}
    FileProvider().read(options, resource, call)  # None if the file is gone
"""
