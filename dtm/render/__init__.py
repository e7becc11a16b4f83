"""What happened and what would happen, shown to people or programs: one renderer at a time, chosen here."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from io import TextIOWrapper
from typing import Literal, TextIO, TypeAlias

from dtm.render.port import Clock, Renderer
from dtm.render.text import Clean

Kind: TypeAlias = Literal["rich", "plain", "json"]

__all__ = ["Kind", "Renderer", "make_renderer"]


def local_time() -> datetime:
    """Now, in the local time zone."""
    return datetime.now(UTC).astimezone()


def make_renderer(
    kind: Kind,
    out: TextIO,
    err: TextIO,
    *,
    clean: Clean,
    color: bool = False,
    width: int | None = None,
    verbose: bool = False,
    quiet: bool = False,
    clock: Clock = local_time,
) -> Renderer:
    """A renderer that writes data to `out` and all else to `err`.

    `clean` goes over every text that leaves. `width` in cells, None for the terminal's. `verbose` shows long texts whole
    and log lines of level debug; `quiet` only data, warnings and errors. Only the renderer asked for is imported.
    """
    from dtm.render.people import Screen

    for stream in (out, err):
        if isinstance(
            stream, TextIOWrapper
        ):  # UTF-8 whatever the locale says; a lone surrogate must not raise
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    screen = Screen(
        out,
        err,
        clock,
        clean,
        width or shutil.get_terminal_size((100, 24)).columns,
        color,
        verbose,
        quiet,
    )
    match kind:
        case "rich":
            from dtm.render.terminal import TerminalRenderer

            return TerminalRenderer(screen)
        case "plain":
            from dtm.render.plain import PlainRenderer

            return PlainRenderer(screen)
        case "json":
            from dtm.render.jsonl import JsonRenderer

            return JsonRenderer(screen)
