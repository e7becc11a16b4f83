"""State in a directory of this machine: files that survive a crash, a lock that dies with its holder.

Invariants: a file is replaced whole or appended to under a short lock, and durable on return. The
system frees the lock of a process that died, so a record without a lock proves a death.

    place = store.open_backend({"stateFile": "devstream.state"}, base_dir, os.environ)
"""
