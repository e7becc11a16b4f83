"""Git repositories by the git binary, shared by every provider that keeps files in one.

Terms: a *repository* is named by a URL that git can reach or by a path. An *SCM block* is the part
of the options that says which repository is meant. *Managed files* are those that one tool keeps.

Invariants: the user's ssh configuration, agent and credential helpers work; nothing prompts. A
refused push is repeated on the new tip and never forced. What others committed is never lost.
"""
