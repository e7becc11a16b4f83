"""A `Runner` whose commands start in a tenth of the time; what goes on in the background is started as ever."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.e2e import zygote
from tests.e2e.conftest import Runner


class Forked(Runner):
    def __init__(self, folder: Path, home: Path, started: subprocess.Popen[str]) -> None:
        super().__init__(folder, home)
        self._zygote = started

    def run(self, *words: str, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        files = {name: str(Path(self.env["HOME"], f".{name}")) for name in ("stdin", "stdout", "stderr")}
        for name, path in files.items():
            Path(path).write_text(stdin if name == "stdin" else "", "utf-8")
        job = {"words": words, "folder": str(self.folder), "env": {**self.env, **(env or {})}, **files}
        assert self._zygote.stdin and self._zygote.stdout
        self._zygote.stdin.write(json.dumps(job) + "\n")
        self._zygote.stdin.flush()
        code = int(self._zygote.stdout.readline())
        out, err = (Path(files[name]).read_text("utf-8") for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(list(words), code, out, err)


@contextlib.contextmanager
def zygote_running() -> Iterator[subprocess.Popen[str]]:
    """The process that forks, until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-m", zygote.__name__], cwd=Path(__file__).parents[2], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield process
