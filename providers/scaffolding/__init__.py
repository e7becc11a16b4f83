"""`repo-scaffolding` and its older names: a git repository that is created from a template.

Terms: a *template* is a directory, an archive or a git repository. In its files whose name ends in
`.tpl`, `[[ key ]]` is replaced by a value. The *shipped* templates are in `templates/`. A *scaffold
request* is what the options ask for, whatever their spelling. *Marks* (see `providers._git`) record
which tool and state made a commit or created a repository.

Invariants:
- `create` makes one commit, each `update` one more. Only files of the template are written or
  removed.
- `create` raises an error for a repository with commits, unless the root commit has the marks of
  this tool.
- `delete` removes a repository only if dtm created it on this machine and made all its commits. One
  with a commit of another author is kept under another name. In all other repositories, `delete`
  removes only the files that dtm wrote.

Modules: `options` (options -> scaffold request), `source` (loads a template), `render` (replaces
keys by values), `provider` (commits), `removal` (deletes or keeps a local repository).

    options = ScaffoldOptions(
        destination_repo=DestinationRepo(url="./repos/me/app.git"), source_repo="golang-gin"
    )
    repo_scaffolding().create(options, call)
"""
