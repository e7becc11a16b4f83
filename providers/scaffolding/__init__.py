"""`repo-scaffolding` and its older names: a repository that begins as a rendered template.

Terms: a *template* is a directory, an archive or a repository of files; `[[ values ]]` are filled in
where a file's name ends in `.tpl`. The shipped ones are in `templates/`.

Invariants: an update is a new commit. Delete removes only a repository that nobody else committed to.
"""
