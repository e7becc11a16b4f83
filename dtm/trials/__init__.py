"""Trials of the plugins that ship, for `dtm develop validate-plugin` and for tests.

A *trial* is one thing that a plugin can make, in a world of its own, with other means to change
that world than the plugin itself (`dtm.testing.provider.Trial`). A *world* is an empty directory,
into which the trial puts what the plugin needs: files, or bare git repositories that only git
changes.

- `local`: plugins for this machine (`command`, `data`, `directory`, `file`)
- `git`: plugins that write into repositories
- `repositories`: the repositories that `git` uses
- `validation`: the trial of any plugin, shipped or not, and every promise tried in it

    for verdict in validate_plugin("file", installed(), Path("empty-directory")):
        print(verdict)

No promise is checked here: `dtm.testing` does that, for every plugin alike. Each shipped plugin has
a trial (tests/providers/test_promises.py).
"""
