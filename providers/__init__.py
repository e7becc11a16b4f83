"""Providers: the objects behind the plugins that ship, each of which talks to one system.

One module, or one room, per system: `data`, `file`, `directory` and `command` for this machine,
`scaffolding/` and `ci/` for files in git repositories, `argocd` for Argo CD. A name with an
underscore is shared by providers and is not one: `_git/` (repositories), `_process/` (programs),
`_local` (paths and modes), `_image` (container images). The table `BUILT_IN` in `dtm/plugins.py`
says which class stands behind which plugin name.

Terms: a *plugin* is what a user names, a *provider* the object behind it. Its *options* are one
Struct: the check, the JSON Schema, the sample and the reference page of the plugin. Its *outputs*
are what references may name. *Attributes* are what `read` reports and what is compared for drift.

Invariants:
- A provider imports the root of `engine` and the shared modules, never a room of `engine`.
- It keeps nothing between calls: all that it knows comes as options, resource and call.
- Its errors are those of `engine.errors`; the engine reports any other as a fault of the plugin.
- Create completes a create that was interrupted, and refuses a resource that dtm did not make.

To add an option: a field with a default in the options Struct (for `file`: `FileOptions` in
`file.py`), with `Field(replace=True)` if a change of it must replace the resource, and its use in
the class below. What must be there before anything is changed is the business of the optional
protocols of `engine.ports`: `HasRequirements` (programs, variables), `HasInputFiles` (paths).
Then a test beside the others (`tests/providers/test_file.py` there); if `read` reports it as an
attribute, its drift in the plugin's trial in `dtm/trials/` and, on this machine, in the table of
`tests/providers/test_drift_local.py`; `python docs/generate.py`, which writes the reference pages;
and a line in `CHANGELOG.md`.

To add a provider: a module with an options Struct, an outputs Struct and a class that satisfies
`engine.ports.Provider`; a row in `BUILT_IN`; a trial in `dtm/trials/`, by which
`tests/providers/test_promises.py` tries every promise of the protocol; its own tests; the pages.

    call = Call(Address("file", "a"), base_dir=Path("."))
    options = FileOptions(path="hello.txt", content="hello")
    made = FileProvider().create(options, call)
    made.outputs  # {"path": "hello.txt", "sha256": "2cf24dba..."}
    FileProvider().read(options, made, call)  # None once the file is gone
"""
