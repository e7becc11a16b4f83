"""Every command once, as a user runs it: its output and exit code."""

import json
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import TWO, Runner, Write

SLOW = """
tools:
- name: command
  instanceID: slow
  options:
    create: "echo x >> made.log; sleep 3; echo '{}' > made.json"
    read: "cat made.json 2>/dev/null || true"
- name: command
  instanceID: later
  dependsOn: [command.slow]
  options: {create: "echo '{}' > later.json", read: "cat later.json 2>/dev/null || true"}
"""


HELD = """
tools:
- name: command
  instanceID: slow
  options: {create: "echo x >> made.log; until [ -e go ]; do sleep 0.1; done"}
"""
"""A tool whose creation lasts until there is a file `go`."""


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_plan_apply_update_and_destroy(dtm: Runner, config: Write) -> None:
    config(TWO)
    assert "Plan: 2 to create" in dtm("plan", "--detailed-exitcode", code=2)
    assert "All plugins applied successfully." in dtm("apply", "-y")
    assert "nothing to do" in dtm("plan", "--detailed-exitcode")
    assert "hello world" in dtm("output", "greeting")
    config(TWO.replace("hello", "good bye"))
    assert "Plan: 0 to create, 2 to update" in dtm("plan")
    dtm("apply", "-y")
    assert dtm("output", "greeting").strip() == "good bye world"
    assert "Destroy finished." in dtm("destroy", "-y")
    assert "No tools have been deployed now." in dtm("destroy", "-y")


def test_without_a_terminal_apply_needs_the_flag(dtm: Runner, config: Write) -> None:
    config(TWO)
    assert "-y" in dtm("apply", code=1)
    assert not (dtm.folder / "devstream.state").exists()


def test_missing_config_hints_at_the_sample(dtm: Runner) -> None:
    for command in ("plan", "apply", "validate"):
        assert "dtm show config > config.yaml" in dtm(
            command, *(["-y"] if command == "apply" else []), code=1
        )


def test_usage_errors_exit_1(dtm: Runner) -> None:
    assert 'Did you mean "apply"?' in dtm("aply", code=1)
    dtm("plan", "--no-such-flag", code=1)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["develop"],
        ["--help"],
        ["version"],
        ["list", "plugins"],
        ["show", "config"],
        ["completion", "bash"],
    ],
)
def test_command_without_a_config(dtm: Runner, words: list[str]) -> None:
    assert dtm(*words)


def test_sample_config_applies_unchanged(dtm: Runner, config: Write) -> None:
    config(dtm.run("show", "config").stdout)
    dtm("apply", "-y")
    dtm("plan", "--detailed-exitcode")
    dtm("destroy", "-y")


def test_plan_as_json_is_one_object_per_line(dtm: Runner, config: Write) -> None:
    config(TWO)
    done = dtm.run("plan", "--json")
    found = lines(done.stdout)
    assert found[0]["type"] == "version"
    assert [line["type"] for line in found].count("planned_change") == 2


def test_verify_always_exits_0_unless_strict(dtm: Runner, config: Write) -> None:
    config(TWO)
    dtm("verify")
    dtm("verify", "--strict", code=1)
    dtm("apply", "-y")
    assert "Verify succeeded." in dtm("verify", "--strict")
    config("tools: [")
    dtm("verify")


def test_drift_exits_with_2(dtm: Runner, config: Write) -> None:
    config("tools:\n- {name: file, instanceID: x, options: {path: x.txt, content: one}}\n")
    dtm("apply", "-y")
    dtm("drift")
    (dtm.folder / "x.txt").write_text("two", "utf-8")
    assert "sha256" in dtm("drift", code=2)
    assert "file/x  changed outside dtm, will be restored" in dtm("plan")
    dtm("apply", "-y")
    dtm("drift")
    (dtm.folder / "x.txt").unlink()
    dtm("drift", code=2)


def test_state_commands(dtm: Runner, config: Write) -> None:
    config(TWO)
    dtm("apply", "-y")
    assert "data/b" in dtm("state", "list")
    assert "hello" in dtm("state", "show", "data.a")
    document = dtm.run("state", "pull").stdout
    assert json.loads(document)["serial"] == 1
    assert dtm.run("state", "pull", "-o", "yaml").stdout.startswith("dtm:")
    assert dtm.run("state", "pull", "-o", "devstream").stdout.startswith("data_a:")
    assert "Would move" in dtm("state", "mv", "data.a", "data.c", "--dry-run")
    dtm("state", "mv", "data.a", "data.c")
    assert "data/c" in dtm("state", "list")
    assert "still needed by data/b" in dtm("state", "rm", "data.c", code=1)
    dtm("state", "rm", "data.b")
    assert "data/b" not in dtm("state", "list")
    assert "data/b" in dtm("state", "diff", "1", "3")
    dtm("state", "rollback", "1")
    assert "nothing to do" in dtm("plan", "--detailed-exitcode")
    assert dtm("state", "history").count("\n") >= 4
    assert "is older" in dtm("state", "push", "-", code=1, stdin=document)
    dtm("state", "push", "-", "--force", stdin=document)
    assert json.loads(dtm.run("state", "pull").stdout)["serial"] == 1
    assert "yes" in dtm("state", "probe")
    assert "there is no serial 77" in dtm("state", "show", "data.a", "--serial", "77", code=1)


def test_status_shows_recorded_and_live_resource(dtm: Runner, config: Write) -> None:
    config("tools:\n- {name: file, instanceID: x, options: {path: x.txt, content: one}}\n")
    dtm("apply", "-y")
    (dtm.folder / "x.txt").write_text("two", "utf-8")
    shown = dtm("show", "status")
    assert "Drifted: true" in shown
    assert "Resource:" in shown


@pytest.mark.parametrize("form", ["dot", "mermaid"])
def test_graph(dtm: Runner, config: Write, form: str) -> None:
    config(TWO)
    assert "data/b" in dtm("graph", "-o", form)


def test_files_in_the_plugin_directory_are_not_loaded(dtm: Runner, config: Write) -> None:
    (dtm.folder / "plugins").mkdir()
    (dtm.folder / "plugins" / "mine.so").touch()
    config(f"pluginDir: plugins\n{TWO}")
    assert "dtm loads no plugin from the directory" in dtm("plan")
    assert "mine.so" in dtm("plan")
    assert "No such option" in dtm("plan", "-d", "plugins", code=1)


def test_delete_refuses_a_tool_that_others_need(dtm: Runner, config: Write) -> None:
    config(TWO)
    dtm("apply", "-y")
    config("tools:\n- {name: data, instanceID: a, options: {input: hello}}\n")
    assert "data/b" in dtm("delete", "-y", code=1)
    dtm("delete", "-y", "--with-dependents")
    assert "Nothing needs to be deleted." in dtm("delete", "-y")


def test_wrong_empty_state_is_refused(dtm: Runner, config: Write) -> None:
    config(TWO)
    dtm("apply", "-y")
    output = dtm("plan", "--state", "elsewhere.state", code=1)
    assert "holds 2 tools" in output
    assert "Plan: 2 to create" in dtm("plan", "--state", "elsewhere.state", "--new-state")


@pytest.mark.parametrize(
    "words",
    [("destroy", "-y"), ("drift",), ("drift", "--lock"), ("plan", "--lock"), ("plan", "--destroy")],
)
def test_wrong_empty_state_is_refused_by_every_command(
    dtm: Runner, config: Write, words: tuple[str, ...]
) -> None:
    config(TWO)
    dtm("apply", "-y")
    elsewhere = ("--state", "elsewhere.state")
    assert "holds 2 tools" in dtm(*words, *elsewhere, code=1)
    assert "holds 2 tools" not in dtm(*words, *elsewhere, "--new-state")
    (dtm.folder / "config.yaml").unlink()
    if words[0] != "plan":
        dtm(*words, *elsewhere)


@pytest.mark.parametrize(
    "words", [("plan",), ("apply", "-y"), ("destroy", "-y"), ("drift",), ("verify", "--strict")]
)
def test_vanished_state_is_not_taken_for_a_new_one(
    dtm: Runner, config: Write, words: tuple[str, ...]
) -> None:
    config("state: {backend: local, options: {stateFile: shared/s.state}}\n" + TWO)
    assert "shared/s.state does not exist yet, apply creates it" in dtm("apply", "-y")
    assert "does not exist yet" not in dtm("plan")
    shutil.rmtree(dtm.folder / "shared")
    gone = dtm(*words, code=1)
    assert "shared/s.state is gone" in gone and "an earlier version of the object" in gone
    assert "is gone" not in dtm(*words[:1], *(["-y"] if "-y" in words else []), "--new-state")


def test_unwritable_record_of_the_state_is_one_warning(dtm: Runner, config: Write) -> None:
    config("state: {backend: local, options: {stateFile: shared/s.state}}\n" + TWO)
    (dtm.folder / ".devstream").write_text("in the way")
    for end in ("Apply finished", "There is nothing to do"):
        said = dtm("apply", "-y")
        assert said.count("cannot record in") == 1 and end in said
    assert "data/b" in dtm("state", "list")


def test_unreadable_record_of_the_state_is_an_error(dtm: Runner, config: Write) -> None:
    config("state: {backend: local, options: {stateFile: shared/s.state}}\n" + TWO)
    note = dtm.folder / ".devstream" / "home"
    note.parent.mkdir()
    note.write_bytes(b"\xff")
    said = dtm("plan", code=1)
    assert f"cannot read {note}" in said and "or remove it" in said
    dtm("apply", "-y", "--new-state")
    assert note.read_text() == f"file://{dtm.folder / 'shared' / 's.state'}\n"


def test_second_run_is_refused_or_waits(dtm: Runner, config: Write) -> None:
    config(HELD)
    first = dtm.start("apply", "-y")
    wait_for(dtm.folder / "made.log")
    refused = dtm("apply", "-y", code=3)
    assert "dtm force-unlock" in refused
    dtm("lock", code=3)
    assert "in progress" in dtm("plan")
    waiting = threading.Timer(2, (dtm.folder / "go").touch)
    waiting.start()
    waited = dtm("apply", "-y", "--lock-timeout", "30s")
    assert "nothing to do" in waited
    assert first.wait() == 0
    dtm("lock")
    assert (dtm.folder / "made.log").read_text("utf-8") == "x\n"


def wait_for(path: Path) -> None:
    for _ in range(500):
        if path.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} never came")


def test_first_ctrl_c_finishes_running_operations(dtm: Runner, config: Write) -> None:
    config(SLOW)
    run = dtm.start("apply", "-y")
    wait_for(dtm.folder / "made.log")
    run.send_signal(signal.SIGINT)
    assert run.wait(30) == 130
    output = dtm.background_output()
    assert (
        "[WARN]  Stopping: waiting for 1 running operation (command/slow); Ctrl-C again cancels it."
        in output
    )
    assert output.index("Stopping") < output.index("Tool (command/slow) Create done.")
    assert (
        "Apply interrupted => 1 created, 1 skipped in" in output
        and "because the run was stopped" in output
    )
    assert "command/slow" in dtm("state", "list")
    assert "command/later" not in dtm("state", "list")
    dtm("lock")
    dtm("apply", "-y")
    assert (dtm.folder / "made.log").read_text("utf-8") == "x\n"


def test_second_ctrl_c_stops_at_once_and_next_run_recovers(dtm: Runner, config: Write) -> None:
    config(SLOW)
    run = dtm.start("apply", "-y")
    wait_for(dtm.folder / "made.log")
    started = time.monotonic()
    run.send_signal(signal.SIGINT)
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    assert run.wait(30) == 130
    assert time.monotonic() - started < 3
    output = dtm.background_output()
    assert "Stopping now: cancelling 1 running operation (command/slow)." in output
    assert "Apply interrupted => 1 cancelled, 1 skipped in" in output and "has ended" not in output
    assert "create" in dtm("state", "list")
    dtm("apply", "-y")
    dtm("plan", "--detailed-exitcode")


def test_force_unlock_needs_the_exact_id(dtm: Runner, config: Write) -> None:
    config(HELD)
    run = dtm.start("apply", "-y")
    wait_for(dtm.folder / "made.log")
    dtm("force-unlock", "nonsense", "-y", code=3)
    held = next(
        line for line in lines(dtm.run("lock", "--json").stdout) if line["type"] == "lock_acquire"
    )
    lock_id = (
        json.dumps(held).split('"id": "')[1].split('"')[0]
        if '"id"' in json.dumps(held)
        else str(held)
    )
    dtm("force-unlock", lock_id, "-y")
    (dtm.folder / "go").touch()
    run.wait(30)
    assert "is not locked" in dtm("force-unlock", lock_id, "-y", code=1)


@pytest.mark.parametrize("group", [[], ["state"], ["show"], ["list"], ["develop"]])
def test_group_without_command_prints_help(dtm: Runner, group: list[str]) -> None:
    assert "Commands:" in dtm.run(*group).stdout
    assert dtm.run(*group).returncode == 0


@pytest.mark.parametrize("command", ["plan", "verify", "drift"])
def test_reading_command_has_lock_but_not_no_lock(dtm: Runner, config: Write, command: str) -> None:
    config(TWO)
    assert "No such option" in dtm(command, "--no-lock", code=1)
    dtm(command, "--lock", "--lock-timeout", "1s")
