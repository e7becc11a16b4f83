"""Trials of the plugins for this machine; resources are changed only by the operating system."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dtm.testing.provider import MakeTrial, Trial, trial_call
from providers.command import CommandOptions
from providers.data import DataOptions
from providers.directory import DirectoryOptions
from providers.file import FileOptions


def data(directory: Path) -> Trial:
    """Return the trial of a value, which exists only in the state."""
    return Trial(
        options=DataOptions(input={"list": [1, None, "x"]}),
        call=trial_call("data", directory),
        changes=[DataOptions(input="text")],
        state_only=True,
    )


def file(directory: Path) -> Trial:
    """Return the trial of a copied file, whose content, mode and source change."""
    path, source = directory / "out" / "hello.txt", directory / "source.txt"
    source.write_text("hello\n", "utf-8")
    return Trial(
        options=FileOptions(path="out/hello.txt", source="source.txt"),
        call=trial_call("file", directory),
        changes=[
            FileOptions(path="out/hello.txt", content="written out ✓\n"),
            FileOptions(path="out/hello.txt", content="written out ✓\n", mode="0600"),
        ],
        drifts={
            "sha256": lambda: path.write_text("HELLO\n", "utf-8"),
            "size": lambda: path.write_text("hello, and more\n", "utf-8"),
            "mode": lambda: path.chmod(0o640),
            "source": lambda: source.write_text("another source\n", "utf-8"),
        },
        delete_outside=path.unlink,
        create_outside=lambda: _put(path, "another user's\n"),
    )


def directory(directory: Path) -> Trial:
    """Return the trial of a directory, whose mode changes."""
    path = directory / "parent" / "out"
    return Trial(
        options=DirectoryOptions(path="parent/out"),
        call=trial_call("directory", directory),
        changes=[DirectoryOptions(path="parent/out", mode="0700")],
        drifts={"mode": lambda: path.chmod(0o711)},
        delete_outside=path.rmdir,
        create_outside=lambda: _put(path / "other.txt", "another user's\n"),
    )


def command(directory: Path) -> Trial:
    """Return the trial of a JSON file that shell commands create, read and delete."""
    path = directory / "thing.json"
    mine = {"colour": "red", "made_by": "command.trial"}
    write = 'test -e thing.json && ! grep -q "$DTM_ADDRESS" thing.json && exit 1'
    write += (
        """; printf '{"colour": "%s", "made_by": "%s"}' "$COLOUR" "$DTM_ADDRESS" > thing.json"""
    )
    programs = CommandOptions(
        create=write,
        read=["sh", "-c", "cat thing.json 2> /dev/null || true"],
        delete="rm -f thing.json",
        env={"COLOUR": "red"},
    )
    return Trial(
        options=programs,
        call=trial_call("command", directory),
        changes=[
            CommandOptions(
                create=write, read=programs.read, delete=programs.delete, env={"COLOUR": "blue"}
            )
        ],
        drifts={
            "colour": lambda: path.write_text(json.dumps({**mine, "colour": "green"}), "utf-8"),
            "extra": lambda: path.write_text(json.dumps({**mine, "extra": [1]}), "utf-8"),
        },
        cannot_drift=frozenset({"made_by"}),
        delete_outside=path.unlink,
    )


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text, "utf-8")


LOCAL_TRIALS: Final[Mapping[str, MakeTrial]] = {
    "command": command,
    "data": data,
    "directory": directory,
    "file": file,
}
"""Plugin name -> function that prepares its trial."""
