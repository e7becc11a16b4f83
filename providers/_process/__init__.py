"""Running of programs, shared by all providers that start one: `command` and those that use git.

Terms: a *process group* is a program and the processes that it starts. The *guard* is a shell that
runs next to dtm and survives it: if dtm is killed, the guard ends the process groups that still
run. A *guarded process* is a program that is registered with the guard. The *gate* is a short shell
script that waits until the guard knows the program, and then becomes the program (`exec`).

Invariants:
- No program outlives dtm: it is ended at the deadline, on interruption, or by the guard.
- A program starts only after the guard knows it. The exception is a program with environment
  variables that a shell would change: the guard learns of it a moment after its start.
- A program that ended normally may leave a daemon running.
- Output is passed on at once. A program that never reads its input does not block dtm.

Modules: `guard` starts and ends process groups, `program` runs one program and reads its output.

    program = Program(["make", "image"], cwd=Path("app"), env=dict(os.environ))
    code = run(program, out=lines.feed, err=lines.feed, stop=call.cancelled)  # None: it was stopped
"""
