"""Git repositories through the git binary, shared by every provider that keeps files in one.

Terms: a *repository* is named by a URL that git can reach, or by a path on this machine. An *SCM
block* (`scm.Repo`) is the part of the options that says which repository is meant; a *location* is
what it comes to. *Managed files* are whole files that one tool keeps in a branch. *Marks* are the
`Dtm-*` trailers by which a commit says which tool, state and operation made it.

Invariants:
- git runs as the user runs it: ssh configuration, agent and credential helpers work. It never asks.
- A refused push is built again on the new tip and is never forced: no commit of others is lost.
- A repository counts as absent only where the other side says so, never because it was unreachable.
- The option `token` goes by the environment, never by arguments. No message shows a credential.

Modules, lowest first: `urls` (spellings), `command` (runs git), `objects` (files, commits), `local`
(on this machine), `repository` (one branch, anywhere), `scm` (options), `managed_files`.

    location = locate(Repo(url="./repos/app.git"))
    repository = opened(location, call)
    write(repository, {"ci.yml": b"..."}, owned=["old.yml"], subject="ci: write ci.yml")
    blobs(repository, ["ci.yml"])  # {"ci.yml": "90a1d60a..."}
"""
