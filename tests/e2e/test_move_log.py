"""`dtm state move-log` moves the log, and settings that contradict the state are refused."""

from pathlib import Path

from tests.e2e.conftest import Runner, Write

TOOLS = "tools:\n- {name: data, instanceID: a, options: {input: %s}}\n"


def inline(folder: Path) -> bool:
    return '\n  "log": ' in (folder / "devstream.state").read_text()


def test_commit_log_moves_there_and_back(dtm: Runner, config: Write) -> None:
    config(TOOLS % "one")
    dtm("apply", "-y")
    assert "Would move the commit log into the state file" in dtm(
        "state", "move-log", "inline", "--dry-run"
    )
    assert not inline(dtm.folder)
    assert "Moved the commit log into the state file" in dtm("state", "move-log", "inline")
    assert inline(dtm.folder)
    assert "Nothing to do: the commit log is already inside" in dtm("state", "move-log", "inline")
    config(TOOLS % "two")
    dtm("apply", "-y")
    assert inline(dtm.folder) and '"output": "two"' in dtm("state", "pull")
    dtm("state", "move-log", "beside")
    assert not inline(dtm.folder)
    dtm("destroy", "-y")


def test_contradicting_setting_names_the_command(dtm: Runner, config: Write) -> None:
    config(TOOLS % "one")
    dtm("apply", "-y")
    config("state: {backend: local, log: inline}\n" + TOOLS % "two")
    assert "dtm state move-log inline" in dtm("plan")
    output = dtm("apply", "-y", code=1)
    assert (
        "state.log is inline, but the commit log of this state is in an object of its own" in output
    )
    assert "dtm state move-log inline" in output
    assert "Moved" in dtm("state", "move-log", "inline")
    dtm("apply", "-y")
    output = dtm("state", "move-log", "beside")
    assert "Set state.log: beside" in output


def test_move_log_has_lock_options_and_checks_its_argument(dtm: Runner, config: Write) -> None:
    config(TOOLS % "one")
    assert "inside" in dtm("state", "move-log", "inside", code=1)
    assert "--no-lock" in dtm("state", "move-log", "--help")
