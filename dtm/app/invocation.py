"""The arguments of the command line, as values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


class Invocation(msgspec.Struct, frozen=True):
    """The config, variables and state that the user named. Every path is absolute.

    `env` holds the environment variables of the process.
    """

    cwd: Path
    env: Mapping[str, str]
    config_file: Path | None = None
    state_url: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    var_files: tuple[Path, ...] = ()


class RunOptions(msgspec.Struct, frozen=True):
    """The options of a run.

    `lock_timeout` is in seconds. Each text in `resolve` is parsed by
    `engine.planning.decisions.Resolution`.
    """

    parallelism: int = 10
    lock: bool = True
    lock_timeout: float = 0.0
    takeover: bool = True
    refresh: bool = True
    force: bool = False
    new_state: bool = False
    dry_run: bool = False
    with_dependents: bool = False
    resolve: tuple[str, ...] = ()
