"""The commit log: durable, fenced records beside or inside a state file, on any store.

Terms: the *snapshot* is one version of the state file. The *head* is the small mutable object whose
compare-and-swap is a commit; full heads move their records into immutable *chunks*. A *view* is a
consistent reading of all three. *Compaction* makes the next snapshot of snapshot and records.

    empty --claim--> open --append--> open --seal--> sealed --snapshot, reset--> empty
                      ^                                |
                      |            (the session died)  |
                      +---- the next session completes the compaction

Invariants: the head is never deleted and no two heads are equal, so a version seen once never comes
back. A session whose swap is refused has lost and writes nothing more. A snapshot is bound to its
head by its random id, never by its serial. A chunk is written before a head names it.

    view = read_view(place, environment)
    writer = LogWriter(place, view, session_id, environment)
    writer.claim(opened)
    writer.append(records, encode_records(records))
    writer.compact()
"""
