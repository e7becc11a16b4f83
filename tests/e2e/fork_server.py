"""Run dtm many times, but import it only once: each command is a fork of this process.

The server reads one JSON object per line, {words, folder, env, stdin, stdout, stderr} (the last
three are files), and answers with the exit code.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib import import_module
from typing import Any

LOADED = (
    "botocore.session",
    "botocore.client",
    "botocore.config",
    "botocore.loaders",
    "urllib3",
    "yaml",
    "tenacity",
    "dtm.app.run",
    "dtm.app.states",
    "dtm.cli.inspect",
    "dtm.cli.lifecycle",
    "dtm.cli.lock",
    "dtm.cli.state",
    "backends.aws.s3",
    "backends.aws.dynamodb",
    "backends.kubernetes.store",
    "providers.command",
    "providers.data",
    "providers.file",
)


def run(job: dict[str, Any]) -> None:
    """Run `python -m dtm` in this process, and end it."""
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["env"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        descriptor = os.open(job[name], os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.path[:0] = [
        path
        for path in job["env"].get("PYTHONPATH", "").split(os.pathsep)
        if path and path not in sys.path
    ]
    sys.argv = ["dtm", *job["words"]]
    import_module("dtm.cli.main").main()


def main() -> None:
    for name in LOADED:
        import_module(name)
    print("ready", flush=True)  # noqa: T201 - the parent process waits for it
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            code = 70
            try:
                run(json.loads(line))
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
