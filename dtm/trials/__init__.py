"""Trials of the shipped plugins, for `dtm develop validate-plugin` and for tests.

Terms:

- A *trial* is one resource to test a plugin with: its options, and functions that change the
  resource without the plugin (`dtm.testing.provider.Trial`).
- The *folder* of a trial is an empty directory, into which the trial writes what the plugin needs:
  files, or bare git repositories.

Modules:

- `local`: trials of plugins for this machine (`command`, `data`, `directory`, `file`).
- `git`: trials of plugins that write into repositories.
- `repositories`: the bare git repositories of the trials in `git`.
- `validation`: runs all cases of the provider contract for any plugin, shipped or not.

Invariants:

- A trial changes resources only with the operating system or with git, never with the plugin.
- No rule is checked here: the cases are in `dtm.testing`, the same ones for all plugins.
- Each shipped plugin has a trial (tests/providers/test_promises.py).

An example:

    for result in validate_plugin("file", installed(), Path("empty-directory")):
        print(result)
"""
