"""The commit log: durable, fenced records beside a state file or inside it, on any store.

Terms: the *snapshot* is one version of the state file. The *head* is the small mutable object whose
compare-and-swap is a commit; a full head moves its records into immutable *chunks*. A *view* is a
consistent reading of all three. *Compaction* makes the next snapshot of a snapshot and its records.
The *placement* says where the head stands: beside the state file, or inside it.

    no head --claim--> open --append--> open --seal--> sealed --snapshot, then swap--> open
                                                         |
                                     the session died: the next one completes the compaction

Invariants: a head beside a state file is never deleted and no two heads are equal, so a version
seen once never comes back: that is the fence. A session whose swap is refused has lost and writes
nothing more. A snapshot is bound to its head by its random id, never by its serial. A chunk is
written before a head names it, and deleted only after none does. The placement is chosen when a
state is made and changes only by `LogWriter.move`.

`state_store` has the keys and the compare-and-swap, `records`, `head` and `replay` the values,
`view` reads, `writer` writes, `placement` knows both places; `group_commit` queues records in front
of a writer, `history` keeps earlier snapshots, `probe` tries what a store guarantees, `rescue_file`
is the form of records that could not be committed.

    state = StateStore(store, "devstream.state")
    view = read_view(state)
    writer = LogWriter(state, view, session_id)
    writer.claim(claim)
    writer.append(records, encode_records(records))
    writer.compact()
"""
