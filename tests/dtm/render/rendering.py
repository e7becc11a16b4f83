"""A fixed clock, and a renderer whose output can be read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO

from dtm.render.port import Renderer
from dtm.render.renderers import Kind, make_renderer
from dtm.render.screen import Screen
from engine.address import Address
from engine.lock import LockInfo, LockRecord

NOON = datetime(2022, 5, 30, 17, 8, 8, tzinfo=UTC)
HOLDER = LockInfo(
    "92417f49-68a4",
    "apply",
    "anna@build-7",
    "0.1.0",
    "2022-05-30T16:54:00.000000Z",
    "s3://b/k",
    lease=30.0,
    renewed="2022-05-30T17:08:04.000000Z",
)
RECORD = LockRecord(HOLDER, "1")
WEB = Address("repo-scaffolding", "web")
DATA = Address("data", "a")


class Shown:
    """A renderer and what it printed."""

    def __init__(
        self,
        kind: Kind,
        *,
        clean: Callable[[str], str] = str,
        width: int = 100,
        verbose: bool = False,
        quiet: bool = False,
    ) -> None:
        self._out, self._err = StringIO(), StringIO()
        self.renderer: Renderer = make_renderer(
            kind,
            Screen(
                self._out,
                self._err,
                clean,
                lambda: NOON,
                width=width,
                verbose=verbose,
                quiet=quiet,
            ),
        )

    @property
    def out(self) -> str:
        self.renderer.close()
        return self._out.getvalue()

    @property
    def err(self) -> str:
        self.renderer.close()
        return self._err.getvalue()
