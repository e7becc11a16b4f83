"""Hooks of the documentation site: a copy button that copies the commands of a console block."""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Final

CONSOLE: Final = re.compile(
    r'(<div class="language-console[^"]*")(>.*?<code>)(.*?)(</code>)', re.DOTALL
)
TAG: Final = re.compile(r"<[^>]+>")
PROMPT: Final = "$ "


def commands(block: str) -> str:
    """Return the commands of a highlighted console block, one per line, without their prompts."""
    lines = unescape(TAG.sub("", block)).splitlines()
    return "\n".join(line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT))


def on_page_content(html: str, **_: object) -> str:
    """Add the commands of each console block as `data-copy`, which the theme's button copies.

    Without the attribute the button copies the prompts and the output too, and a shell that gets
    them runs `$` and each line of output as commands.
    """
    return CONSOLE.sub(
        lambda found: (
            f'{found[1]} data-copy="{escape(commands(found[3]))}"{found[2]}{found[3]}{found[4]}'
        ),
        html,
    )
