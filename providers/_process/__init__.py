"""Programs run to their end, shared by every provider that starts one (`command`, all of git).

Terms: a *process group* is a program and all that it starts. A *tether* ties one program to dtm.
The *guard* is a shell that outlives dtm and ends the process groups at work if dtm was killed.

Invariants:
- No program outlives dtm: it is ended at the deadline, on interruption, and by the guard.
- A program begins only when the guard knows of it (but for an environment that no shell hands on).
- A program that has ended by itself may leave a daemon behind: that one stays.
- Output is passed on as it comes; a program that never reads its input does not block dtm.

    program = Program(["make", "image"], cwd=Path("app"), env=dict(os.environ))
    code = run(program, out=lines.feed, err=lines.feed, stop=call.cancelled)  # None: stopped
"""
