"""Git repositories, shared by all providers that keep files in one. They use the git program.

Terms: a *repository* is named by a URL that git can reach, or by a path on this machine. `scm.Repo`
holds the options that name one; its *location* is the resulting URL, owner, name and branch. The
*tip* of a branch is its newest commit. *Managed files* are complete files that one tool keeps in a
branch. *Marks* record which tool, state and operation made a commit (`Dtm-*` trailers of its
message) or created a repository (`dtm.*` keys of its config). A *scratch repository* is a temporary
one in which dtm builds a commit before it pushes it.

Invariants:
- git uses the ssh configuration, agent and credential helpers of the user. It never prompts.
- No push is forced, so no commit of another user is lost. If the branch has moved, the commit is
  built again on the new tip.
- A repository is reported as absent only if its host says so, never because it is unreachable.
- The option `token` is passed in the environment, never in arguments, which other users of the
  machine can list. No message shows a credential.

Modules, lowest first: `urls` (normalized URLs), `command` (runs git), `objects` (files, commits),
`local` (repositories on this machine), `repository` (one branch of any repository), `scm`
(options), `managed_files`.

    location = locate(Repo(url="./repos/app.git"))
    repository = open_repository(location, call)
    write_files(repository, {"ci.yml": b"..."}, owned=["old.yml"], subject="ci: write ci.yml")
    read_blob_ids(repository, ["ci.yml"])  # {"ci.yml": "90a1d60a..."}
"""
