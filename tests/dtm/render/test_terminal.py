from __future__ import annotations

import re
from io import StringIO
from os import terminal_size
from threading import Thread
from time import sleep

import pytest

from dtm.render.screen import Screen
from dtm.render.terminal import TerminalRenderer
from engine.address import Address
from engine.errors import DtmError
from engine.events import (
    ApplyComplete,
    ApplyErrored,
    ApplyProgress,
    ApplySkipped,
    ApplyStart,
    ApplySummary,
    LockAcquired,
    LockWaiting,
    Stopping,
)
from engine.plan import Action
from tests.dtm.render.rendering import DATA, HOLDER, NOON, RECORD, WEB

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A terminal renderer that draws every millisecond, and all that it ever drew."""

    def __init__(self, *, width: int = 100, color: bool = False, quiet: bool = False) -> None:
        self.drawn = StringIO()
        screen = Screen(StringIO(), self.drawn, str, lambda: NOON, width, color=color, quiet=quiet)
        self.renderer = TerminalRenderer(screen, refresh=0.001)

    def wait_for(self, text: str) -> None:
        for _ in range(5000):
            if text in self.text:
                return
            sleep(0.001)
        raise AssertionError(f"{text!r} was never drawn in {self.text!r}")

    @property
    def text(self) -> str:
        return CONTROL.sub("", self.drawn.getvalue())

    @property
    def left(self) -> list[str]:
        """The final rows of the screen, after the live table was erased line by line."""
        self.renderer.close()
        rows: list[str] = []
        for piece in re.split(r"(\x1b\[1A|\x1b\[2K|\n)", self.drawn.getvalue()):
            match piece:
                case "\x1b[1A":
                    rows.pop()
                case "\x1b[2K":
                    rows[-1:] = [""]
                case "\n":
                    rows.append("")
                case _:
                    rows[-1:] = [(rows[-1] if rows else "") + CONTROL.sub("", piece)]
        return [row.rstrip() for row in rows]


def test_running_operations_are_rows_with_times_and_a_bar() -> None:
    terminal = Terminal()
    terminal.renderer.event(ApplyStart(DATA, Action.CREATE, 1, 3))
    terminal.renderer.event(ApplyProgress(DATA, Action.CREATE, "2 of 4 pods\nmore", 0.5, 1.0))
    terminal.wait_for("0/3 changes")
    terminal.wait_for("2 of 4 pods")
    assert (
        "data/a" in terminal.text
        and "creating" in terminal.text
        and "0.0s" in terminal.text
        and "more" not in terminal.text
    )
    terminal.renderer.close()


def test_finished_lines_stay_and_the_table_disappears() -> None:
    terminal = Terminal()
    for event in (
        ApplyStart(DATA, Action.CREATE, 1, 2),
        ApplyStart(WEB, Action.UPDATE, 2, 2),
        ApplyComplete(DATA, Action.CREATE, "data.a", 1.5),
        ApplyErrored(WEB, Action.UPDATE, "no", "try this", 2.0),
        ApplySkipped(Address("data", "b"), Action.CREATE, WEB),
        ApplySummary({Action.CREATE: 1}, (WEB,), (Address("data", "b"),), 2.0, "/w/s"),
    ):
        terminal.renderer.event(event)
        sleep(0.005)
    assert [row for row in terminal.left if row] == [
        "✔ data/a created  1.5s  data.a",
        "✖ repo-scaffolding/web Update failed.",
        "✖ Apply failed => 1 created, 1 failed, 1 skipped in 2.0s.",
        "  Failed:",
        "    repo-scaffolding/web update: no",
        "      → try this",
        "  Skipped:",
        "    data/b create, because repo-scaffolding/web failed",
        "  State: /w/s",
        "  → remove the cause, then run the same command again: it continues with what is left",
    ]


def test_stop_request_is_shown_above_the_table() -> None:
    terminal = Terminal()
    terminal.renderer.event(ApplyStart(DATA, Action.CREATE, 1, 1))
    terminal.wait_for("0/1 change")
    terminal.renderer.event(Stopping((DATA,)))
    terminal.wait_for("Ctrl-C again")
    terminal.renderer.event(Stopping((DATA,), cancelling=True))
    terminal.wait_for("Stopping now")
    assert [row for row in terminal.left if row] == [
        "⚠ Stopping: waiting for 1 running operation (data/a); Ctrl-C again cancels it.",
        "⚠ Stopping now: cancelling 1 running operation (data/a).",
    ]


def test_more_operations_than_rows_are_counted() -> None:
    terminal = Terminal()
    for i in range(200):
        terminal.renderer.event(ApplyStart(Address("data", f"t{i}"), Action.CREATE, i + 1, 200))
    terminal.wait_for("more")
    assert re.search(r"and \d+ more", terminal.text)
    terminal.renderer.close()


def test_waiting_for_the_lock_is_shown_while_it_lasts() -> None:
    terminal = Terminal(width=200)
    terminal.renderer.event(LockWaiting(RECORD, 1.0, 29.0))
    terminal.wait_for("Waiting for the state lock held by anna@build-7")
    terminal.renderer.event(LockAcquired(HOLDER, 2.0))
    assert [row for row in terminal.left if row] == ["ℹ Got the state lock after 2.0s."]


def test_error_removes_the_table_first() -> None:
    terminal = Terminal()
    terminal.renderer.event(ApplyStart(DATA, Action.CREATE, 1, 1))
    terminal.wait_for("0/1 change")
    terminal.renderer.error(DtmError("lost", hint="look"))
    assert [row for row in terminal.left if row] == ["✖ lost", "  → look"]


def test_quiet_draws_nothing() -> None:
    terminal = Terminal(quiet=True)
    terminal.renderer.event(ApplyStart(DATA, Action.CREATE, 1, 1))
    terminal.renderer.event(ApplyComplete(DATA, Action.CREATE, "x", 1.0))
    terminal.renderer.event(ApplySummary({Action.CREATE: 1}, (), (), 1.0, "s"))
    terminal.renderer.close()
    assert terminal.drawn.getvalue() == ""


class Window(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_width_follows_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    err = Window()
    renderer = TerminalRenderer(Screen(StringIO(), err, str, lambda: NOON, width=100))
    for width in (100, 24):
        monkeypatch.setattr("os.get_terminal_size", lambda *_, w=width: terminal_size((w, 24)))
        renderer.notice("info", "a line of more than 24 cells")
    renderer.close()
    assert CONTROL.sub("", err.getvalue()).splitlines() == [
        "ℹ a line of more than 24 cells",
        "ℹ a line of more than 24",
        "  cells",
    ]


@pytest.mark.parametrize("color", [True, False])
def test_colors_can_be_disabled(color: bool) -> None:
    terminal = Terminal(color=color)
    terminal.renderer.notice("error", "red or not")
    assert ("\x1b[" in terminal.drawn.getvalue()) is color


def test_events_may_come_from_many_threads() -> None:
    terminal = Terminal()
    tools = [Address("data", f"t{i}") for i in range(200)]

    def work(part: list[Address]) -> None:
        for each in part:
            terminal.renderer.event(ApplyStart(each, Action.CREATE, 1, 200))
            terminal.renderer.event(ApplyComplete(each, Action.CREATE, "", 0.1))

    threads = [Thread(target=work, args=(tools[i::8],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    terminal.renderer.event(ApplySummary({Action.CREATE: 200}, (), (), 1.0, "s"))
    assert sorted(row for row in terminal.left if row.endswith("created  0.1s")) == sorted(
        f"✔ {each} created  0.1s" for each in tools
    )
