"""The choices of the command line, as values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


class Invocation(msgspec.Struct, frozen=True):
    """The config and the state that the user named; every path is absolute."""

    cwd: Path
    env: Mapping[str, str]
    config_file: Path | None = None
    state_url: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    var_files: tuple[Path, ...] = ()


class RunOptions(msgspec.Struct, frozen=True):
    """The way a run goes about its work.

    `lock_timeout` in seconds; `resolve` as `engine.planning.decisions.Resolution` reads it.
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
