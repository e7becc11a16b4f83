"""Keep the commit log of a state. It survives crashes, and a superseded session cannot write it.

A run records every operation before and after it calls a provider. Rewriting the whole state file
for each record would be slow, so records go to a small object, the commit log. This room reads and
writes that log on any store that offers conditional writes.

Terms:

- *state file*: the bytes at the state's location. A *snapshot* is one version of it.
- *record*: one entry of the log. The *log head* is the mutable part of the log. A *chunk* is an
  immutable object with records that no longer fit into the head.
- *swap*: the replacement of an object on condition that it has the expected version.
- *commit*: a swap of the head that adds records. The *claim* is the first commit of a session. The
  *seal* is the last commit before a compaction; it names the ID of the next snapshot.
- *compaction*: writing the next snapshot from the current one and the records, and emptying the
  log.
- *separate log*: the head is the object `K.log` next to the state file `K`. *Inline log*: the head
  is a part of the state file. Which of the two a state has is its *placement*.
- *view*: one consistent read of snapshot, head and chunks.
- *fencing*: refusing the writes of a session that another session has superseded.

The states of a separate log:

    no head --- claim ---> open <--- append records (any number) ---> open
                            ^  |
                            |  | seal: the head names the next snapshot
         swap: empty head,  |  v
      base = next snapshot  |  sealed ---- the session dies ----> sealed, abandoned
                            |    |                                      |
                            |    | write the next snapshot              | the next session writes
                            |    v                                      | the snapshot, if needed
                            +-- compacted <-----------------------------+

An inline log is always open: snapshot and head are one object, and one swap replaces both.

    rule                             | why                                  | enforced in
    ---------------------------------|--------------------------------------|---------------------
    Every commit is one swap of the  | Two writers must never both succeed. | StateStore.swap,
    object that holds the head.      |                                      | CommitLog.commit
    A separate head is never deleted | A version seen once never comes      | CommitLog._numbered
    and no two heads are equal.      | back, so a session that slept        |
                                     | cannot write.                        |
    A session whose swap is refused  | Its view of the state is outdated.   | LogWriter._fence,
    writes nothing more.             |                                      | GroupCommit
    Head and snapshot are tied by    | A forced push can repeat a serial.   | Head.base, View
    the snapshot's random ID.        |                                      |
    A chunk is written before a head | A reader must find every chunk that  | ChunkWriter,
    names it, and is deleted once no | a head names.                        | SeparateLog._delete
    head names it.                   |                                      |
    The next snapshot depends only   | Two sessions that finish the same    | Replay.next_snapshot
    on snapshot, records and ID.     | compaction must write equal bytes.   |
    The old snapshot is in the       | A crash between the two must not     | LogWriter._write_
    history before it is replaced.   | lose it.                             | snapshot
    The placement changes only after | Two sessions that want different     | LogWriter.claim
    a swap of the state file.        | placements must meet at one object.  |

Modules: `state_store` has the keys and the swap; `records`, `head` and `replay` the values and
their bytes. `view` reads. `placement` has the separate and the inline log, `writer` the writes of
one session, `group_commit` a queue in front of it. `history` has earlier snapshots, `probe` tests
what a store guarantees, `rescue_file` is the form of outcomes that could not be committed.

A session writes to the log like this:

    state_store = StateStore(store, "devstream.state")
    view = read_view(state_store)
    writer = LogWriter(state_store, view, session_id)
    writer.claim(claim)
    writer.append(records, encode_records(records))
    writer.compact()
"""
