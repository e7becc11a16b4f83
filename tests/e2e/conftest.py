"""The command line as a user runs it: a separate process in an empty folder and home."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import fork_server as server_module

TWO = """
tools:
- name: data
  instanceID: a
  options: {input: hello}
- name: data
  instanceID: b
  options: {input: "${{ data.a.outputs.output }} world"}
outputs:
  greeting: ${{ data.b.outputs.output }}
"""
"""A config of two tools. The second one depends on the first."""


def accept_signals() -> None:
    """Accept Ctrl-C and hang-ups in a process that is about to start dtm.

    If the tests run in the background, they ignore both signals, and dtm would inherit that.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Runner:
    def __init__(self, folder: Path, home: Path, fork_server: subprocess.Popen[str]) -> None:
        self._fork_server = fork_server
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DTM_", "GIT_"))
        }
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        self.env = {**kept, "HOME": str(home), "NO_COLOR": "1", "COLUMNS": "100", "LANG": "C.UTF-8"}

    def __call__(
        self, *words: str, code: int = 0, stdin: str = "", env: dict[str, str] | None = None
    ) -> str:
        done = self.run(*words, stdin=stdin, env=env)
        printed = f"$ dtm {' '.join(words)}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == code, printed
        assert "Traceback" not in printed
        return done.stdout + done.stderr

    def run(
        self, *words: str, stdin: str = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        files = {
            name: str(Path(self.env["HOME"], f".{name}")) for name in ("stdin", "stdout", "stderr")
        }
        for name, path in files.items():
            Path(path).write_text(stdin if name == "stdin" else "", "utf-8")
        job = {
            "words": words,
            "folder": str(self.folder),
            "env": {**self.env, **(env or {})},
            **files,
        }
        assert self._fork_server.stdin and self._fork_server.stdout
        self._fork_server.stdin.write(json.dumps(job) + "\n")
        self._fork_server.stdin.flush()
        code = int(self._fork_server.stdout.readline())
        out, err = (Path(files[name]).read_text("utf-8") for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(list(words), code, out, err)

    def kill(self) -> None:
        """Kill the background processes."""
        for process in self.started:
            process.kill()
            process.wait()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in the background. Its output goes to a file in the home."""
        with (Path(self.env["HOME"]) / "background.txt").open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "dtm", *words],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=accept_signals,
            )
        self.started.append(process)
        return process

    def background_output(self) -> str:
        """Return what the process that was started last has printed so far."""
        return (Path(self.env["HOME"]) / "background.txt").read_text("utf-8")


@pytest.fixture(scope="session")
def fork_server() -> Iterator[subprocess.Popen[str]]:
    """Start the process that forks one for each command.

    Nearly all of a command's time is spent on imports.
    """
    with subprocess.Popen(
        [sys.executable, "-m", server_module.__name__],
        cwd=Path(__file__).parents[2],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield process


@pytest.fixture
def dtm(tmp_path: Path, fork_server: subprocess.Popen[str]) -> Iterator[Runner]:
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    runner = Runner(folder, home, fork_server)
    yield runner
    runner.kill()


Write = Callable[[str], None]


@pytest.fixture
def config(dtm: Runner) -> Write:
    """Write config.yaml."""

    def write(text: str) -> None:
        (dtm.folder / "config.yaml").write_text(text, "utf-8")

    return write
