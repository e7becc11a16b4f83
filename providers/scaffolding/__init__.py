"""`repo-scaffolding` and its older names: a repository that begins as a rendered template.

Terms: a *template* is a directory, an archive or a git repository; in files whose name ends in
`.tpl`, `[[ values ]]` are filled in. The shipped ones are in `templates/`. An *order* is what every
spelling of the options comes to.

Invariants:
- Create makes one commit, each update one more. Only files of the template are written or removed.
- Create refuses a repository with commits unless the first carries the marks of this very tool.
- Delete removes a repository only if dtm made it on this machine and all its commits are dtm's; one
  with a commit of others is kept under another name. From any other only dtm's files are removed.

Modules: `options` (all spellings -> order), `source` (loads a template), `render` (fills it in),
`provider` (the commits), `removal` (deletes or keeps a local repository).

    options = ScaffoldOptions(
        destination_repo=DestinationRepo(url="./repos/me/app.git"), source_repo="golang-gin"
    )
    repo_scaffolding().create(options, call)
"""
