"""The tools of the crash tests, before and after one apply.

The apply creates, updates, replaces and deletes tools of three plugins.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

MAKE = 'echo "$DTM_ADDRESS SIZE $DTM_TOKEN" >> effects.log'
"""One write creates the whole resource, so a killed command never leaves a part of it."""
READ = (
    """grep "^$DTM_ADDRESS " effects.log | tail -n 1 """
    """| sed -n 's/^[^ ]* \\([0-9][0-9]*\\) .*/{"size": \\1}/p'"""
)
DELETE = 'echo "$DTM_ADDRESS gone" >> effects.log'
COMMAND = """- name: command
  instanceID: NAME
  DEPENDS
  options:
    create: MAKE
    update: MAKE
    read: READ
    delete: DELETE
"""
FILE = """- name: file
  instanceID: NAME
  DEPENDS
  options: {path: out/PATH, content: "SIZE\\n"}
"""
REPOSITORY = """- name: repo-scaffolding
  instanceID: NAME
  DEPENDS
  options:
    sourceRepo: ./source
    destinationRepo: {scmType: local, owner: me, name: NAME, branch: main}
    vars: {size: "SIZE"}
"""


def _tool(template: str, name: str, size: int, depends: str = "", path: str = "") -> str:
    edges = f"dependsOn: [{depends}]" if depends else "dependsOn: []"
    text = template.replace("DEPENDS", edges).replace("PATH", path or name)
    for word, script in (("MAKE", MAKE), ("READ", READ), ("DELETE", DELETE)):
        text = text.replace(word, json.dumps(script))
    return text.replace("NAME", name).replace("SIZE", str(size))


BEFORE = [
    _tool(COMMAND, "keep", 1),
    _tool(COMMAND, "grow", 1, "command.keep"),
    _tool(COMMAND, "gone", 1, "command.keep"),
    _tool(FILE, "same", 1),
    _tool(FILE, "edit", 1, "command.grow"),
    _tool(FILE, "move", 1, "file.edit", "old-place"),
    _tool(FILE, "drop", 1, "command.gone"),
    _tool(REPOSITORY, "service", 1, "file.same"),
    _tool(REPOSITORY, "legacy", 1, "file.drop"),
]
AFTER = [
    _tool(COMMAND, "keep", 1),
    _tool(COMMAND, "grow", 2, "command.keep"),
    _tool(COMMAND, "fresh", 1, "command.grow"),
    _tool(FILE, "same", 1),
    _tool(FILE, "edit", 2, "command.grow"),
    _tool(FILE, "move", 1, "file.edit", "new-place"),
    _tool(FILE, "extra", 1, "command.fresh"),
    _tool(REPOSITORY, "service", 2, "file.same"),
    _tool(REPOSITORY, "second", 1, "file.edit, command.fresh"),
]
"""The twelve tools of BEFORE and AFTER: 3 created, 3 updated, 1 replaced, 3 deleted, 2 kept."""


def write_config(folder: Path, tools: list[str], settings: str = "") -> None:
    """Write the config, and the template that the repositories are scaffolded from."""
    (folder / "config.yaml").write_text(settings + "tools:\n" + "".join(tools), "utf-8")
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "size.txt.tpl").write_text("[[ size ]]\n", "utf-8")


def effects(folder: Path) -> list[str]:
    """Return a line for each effect of a command, in order.

    `address size token` for create and update, `address gone` for delete.
    """
    log = folder / "effects.log"
    return log.read_text("utf-8").split("\n")[:-1] if log.exists() else []


EXCLUDED = ("config.yaml", "devstream.state", ".devstream", "repos/", "effects.log", "home/")
"""Files of dtm and of the test, and those that are compared in another way."""


def live_resources(folder: Path) -> dict[str, str]:
    """Return the digest of every file of a tool and the history of every repository."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(EXCLUDED):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    for repository in sorted(folder.glob("repos/*/*.git")):
        log = subprocess.run(
            ["git", "--git-dir", str(repository), "log", "--format=%s %T", "main"],
            capture_output=True,
            text=True,
            check=True,
        )
        found[repository.relative_to(folder).as_posix()] = log.stdout
    return found
