"""Hooks of the documentation site: the repository link, and what the copy buttons copy."""

from __future__ import annotations

import os
import re
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any, Final

CONSOLE: Final = re.compile(
    r'(<div class="language-console[^"]*")(>.*?<code>)(.*?)(</code>)', re.DOTALL
)
TAG: Final = re.compile(r"<[^>]+>")
PROMPT: Final = "$ "
REMOTE: Final = re.compile(
    r"(?:https?://(?:[^@/]+@)?|(?:ssh://)?git@)(?P<host>[\w.-]+\.\w+)(?::\d+)?[:/](?P<path>[^:]+?)(?:\.git)?/?"
)
"""A remote on a hosting site. Credentials in it are not part of any group."""


def on_config(config: Any) -> Any:
    """Link to the repository that `DTM_REPO_URL` names, or else to the remote `origin`.

    The project's files name no host, so that a fork's site links to the fork.
    """
    url = os.environ.get("DTM_REPO_URL") or repository_page(_origin())
    if url:
        config["repo_url"], config["repo_name"] = url, url.split("/", 3)[-1]
    return config


def repository_page(remote: str) -> str:
    """Return the web page of a git remote, "" for a remote that is not on a hosting site."""
    found = REMOTE.fullmatch(remote)
    return f"https://{found['host']}/{found['path']}" if found else ""


def _origin() -> str:
    root = Path(__file__).parents[1]
    command = ["git", "remote", "get-url", "origin"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()


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
