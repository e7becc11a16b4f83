"""The choice of a renderer."""

from __future__ import annotations

from typing import Literal, TypeAlias

from dtm.render.port import Renderer
from dtm.render.screen import Screen

Kind: TypeAlias = Literal["rich", "plain", "json"]


def make_renderer(kind: Kind, screen: Screen) -> Renderer:
    """Make a renderer for a screen. Import only the module of that renderer."""
    screen.use_utf_8()
    # Imported on use: a command without a terminal should not wait for the import of rich.
    match kind:
        case "rich":
            from dtm.render.terminal import TerminalRenderer

            return TerminalRenderer(screen)
        case "plain":
            from dtm.render.plain import PlainRenderer

            return PlainRenderer(screen)
        case "json":
            from dtm.render.json_renderer import JsonRenderer

            return JsonRenderer(screen)
