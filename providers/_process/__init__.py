"""Programs run to their end, shared by every provider that starts one.

Terms: the *guard* is a process that ends what dtm started when dtm itself is killed.

Invariants: a program is ended with its whole process group at its deadline. None outlives dtm.
"""
