"""Two users who apply different configurations of the same tools at once, over a failing network.

This module also checks that no result is lost.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.promises.crash.trials import last_output
from tests.promises.crash.victim import ForkServer
from tests.servers.proxy import Fault

APPLY = ["apply", "--auto-approve", "--force", "--lock-timeout", "8s", "--parallelism", "3"]
TOOLS = 6
USERS = ("left", "right")
TIMEOUT, CALM = 0.5, 15.0
"""Seconds until the timeout of a request: while the network fails, and after that."""
BOUND = 55.0
"""Seconds within which every run must end, with all timeouts and retries."""
SCRIPT = 'echo "$DTM_ADDRESS {verb} $DTM_TOKEN" >> {log}'
TOOL = """- name: command
  instanceID: t{number}
  dependsOn: [{depends}]
  options: {{create: '{create}', update: '{update}', delete: '{delete}', env: {{USER: "{wanted}"}}}}
"""
"""Without `read`: a tool whose record is lost is created again, and effects.log shows that."""


@dataclass(frozen=True, slots=True)
class Network:
    """A failing network for one seed: the environment variables of a user, and the faults."""

    env: Callable[[str], Mapping[str, str]]
    counts: Callable[[], Counter[Fault]]
    """Counts grow even after a run has ended, since delayed requests arrive later."""


@dataclass(frozen=True, slots=True)
class CompetingUsers:
    """Two users with a folder each below `root`.

    `settings` returns the `state:` part of the configuration for a name and a timeout in seconds.
    `network` starts the failing network of a seed. `direct` contains the environment variables for
    access without it.
    """

    root: Path
    settings: Callable[[str, float], str]
    network: Callable[[int], AbstractContextManager[Network]]
    direct: Mapping[str, str]

    def run_both(
        self, seed: int, fork_servers: tuple[ForkServer, ForkServer]
    ) -> tuple[Network, list[int]]:
        """Run both users at once, check that nothing is lost; return the network and exit codes."""
        home = self.root / f"s{seed:03}"
        users = [home / name for name in USERS]
        for user in users:
            (user / "home").mkdir(parents=True)
            self._config(user, TIMEOUT)
        with self.network(seed) as network, ThreadPoolExecutor(2) as pool:
            ends = [
                pool.submit(_run, fork_server, user, APPLY, network.env(user.name))
                for fork_server, user in zip(fork_servers, users, strict=True)
            ]
            for user, end in zip(users, ends, strict=True):
                _check_end(f"seed {seed}, {user.name}", *end.result(), last_output(user))
        self._recover_and_check(seed, users, fork_servers[0])
        return network, [end.result()[0] for end in ends]

    def _recover_and_check(self, seed: int, users: list[Path], fork_server: ForkServer) -> None:
        """Apply the rescue files, then apply the right user's configuration without faults."""
        output = f"seed {seed}: " + "\n".join(_after_the_plan(user) for user in users)
        for user in users:
            self._config(user, CALM)
            for rescue in user.glob("errored-*.dtm"):
                code, _ = _run(fork_server, user, ["state", "recover", rescue.name], self.direct)
                assert code == 0, f"{output}\nrecover: {_after_the_plan(user)}"
        right = users[1]
        code, _ = _run(fork_server, right, APPLY, self.direct)
        assert code == 0, f"seed {seed}, the run without faults: {_after_the_plan(right)}\n{output}"
        code, _ = _run(fork_server, right, ["plan", "--detailed-exitcode"], self.direct)
        assert code == 0, f"{output}\nthe last plan: {last_output(right)}"
        log = (right.parent / "effects.log").read_text("utf-8").splitlines()
        there: Counter[str] = Counter()
        for line in log:
            address, verb, _ = line.split(" ", 2)
            there[address] += {"create": 1, "update": 0, "delete": -1}[verb]
            assert there[address] in (0, 1), (
                f"{output}\n{address} was created twice:\n" + "\n".join(log)
            )
        assert sorted(there.elements()) == [f"command.t{number}" for number in range(TOOLS + 1)], (
            output
        )

    def _config(self, user: Path, timeout: float) -> None:
        home, wanted = user.parent, TOOLS + USERS.index(user.name)
        tools = "".join(_tool(number, user.name, home / "effects.log") for number in range(wanted))
        (user / "config.yaml").write_text(
            f"{self.settings(home.name, timeout)}tools:\n{tools}", "utf-8"
        )


def _tool(number: int, wanted: str, log: Path) -> str:
    scripts = {verb: SCRIPT.format(verb=verb, log=log) for verb in ("create", "update", "delete")}
    return TOOL.format(
        number=number,
        depends=f"command.t{number - 2}" if number > 1 else "",
        wanted=wanted,
        **scripts,
    )


def _run(
    fork_server: ForkServer, folder: Path, command: list[str], env: Mapping[str, str]
) -> tuple[int, float]:
    started = time.monotonic()
    code, _ = fork_server.run(folder, command, env=env)
    return code, time.monotonic() - started


def _after_the_plan(folder: Path) -> str:
    _, _, rest = last_output(folder).rpartition("\nPlan: ")
    return rest


def _check_end(who: str, code: int, seconds: float, text: str) -> None:
    assert code in (0, 1, 3), f"{who}: exit {code}: {text}"
    assert seconds < BOUND, f"{who}: {seconds:.0f} s: {text}"
    assert "internal error" not in text and "Traceback" not in text, f"{who}: {text}"
    assert code == 0 or re.search(r"\[ERROR\]", text), (
        f"{who}: exit {code} without an error message: {text}"
    )
    assert code != 0 or "[ERROR]" not in text, f"{who}: exit 0 in spite of an error: {text}"
