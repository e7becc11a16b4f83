"""Repairs of a state from the command line: what is refused, what is kept, and the next step."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.log.records import Cancelled, Done
from engine.log.rescue_file import RescueFile, encode
from tests.e2e.conftest import Runner, Write

ONE = """
tools:
- {name: data, instanceID: a, options: {input: hello}}
"""


def serials(dtm: Runner) -> list[int]:
    rows = [json.loads(row) for row in dtm.run("state", "history", "--json").stdout.splitlines()]
    return [row["data"]["serial"] for row in rows if row["type"] == "data"]


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("document", ["", "{}", " \n", "# only a comment\n"])
def test_file_without_a_state_is_never_pushed(
    dtm: Runner, config: Write, document: str, force: list[str]
) -> None:
    config(ONE)
    dtm("apply", "-y")
    assert "the pushed file holds no state" in dtm(
        "state", "push", "-", *force, code=1, stdin=document
    )
    assert "data/a" in dtm("state", "list")


def test_state_without_a_lineage_is_not_pushed(dtm: Runner, config: Write) -> None:
    config(ONE)
    dtm("apply", "-y")
    document = json.loads(dtm.run("state", "pull").stdout) | {"lineage": "", "serial": 9}
    assert "has no lineage" in dtm("state", "push", "-", code=1, stdin=json.dumps(document))
    output = dtm("state", "push", "-", "--force", "--dry-run", stdin=json.dumps(document))
    assert (
        "Would push serial 9" in output
        and "Overridden with --force: the pushed state has no lineage" in output
    )


def test_copied_project_adopts_its_state(dtm: Runner, config: Write) -> None:
    config(ONE)
    dtm("apply", "-y")
    moved = dtm.folder.rename(dtm.folder.with_name("moved"))
    dtm.folder = moved
    assert "is a copy" in dtm("destroy", "-y", code=1)
    assert "make this location its home with --adopt" in dtm(
        "state", "push", "devstream.state", code=1
    )
    assert "Pushed serial 1" in dtm("state", "push", "--adopt", "devstream.state")
    assert "Nothing to do" in dtm("state", "push", "--adopt", "devstream.state")
    dtm("destroy", "-y")
    assert "data/a" not in dtm("state", "list")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def garble(path: Path) -> None:
    path.write_bytes(b"garbage\n")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        ("devstream.state", cut, "devstream.state:"),
        ("devstream.state", garble, "not a valid state file"),
        ("devstream.state.log", garble, "the commit log is damaged"),
        ("devstream.state.log", empty, "the commit log is damaged"),
    ],
)
def test_damaged_state_is_restored_from_the_history(
    dtm: Runner, config: Write, name: str, spoil: Callable[[Path], None], says: str
) -> None:
    for text in ("one", "two", "three"):
        config(ONE.replace("hello", text))
        dtm("apply", "-y")
    spoil(dtm.folder / name)
    spoilt = (dtm.folder / name).read_bytes()
    output = dtm("plan", code=1)
    assert says in output and output.count(f"{name}") == 1 and "dtm state rollback SERIAL" in output
    assert serials(dtm) == [2, 1]
    assert "one" in dtm("state", "show", "data.a", "--serial", "1")
    assert "two" in dtm("state", "diff", "1", "2")
    assert "Wrote serial 4" in dtm("state", "rollback", "2")
    assert "two" in dtm("state", "show", "data.a")
    kept = [path.read_bytes() for path in (dtm.folder / "devstream.state.history").iterdir()]
    assert spoilt in kept or not spoilt
    dtm("apply", "-y")


def test_forced_push_replaces_a_damaged_state(dtm: Runner, config: Write) -> None:
    config(ONE)
    dtm("apply", "-y")
    document = dtm.run("state", "pull").stdout
    cut(dtm.folder / "devstream.state")
    assert "not a valid state file" in dtm("state", "push", "-", code=1, stdin=document)
    assert "Overridden with --force: the current state is damaged" in dtm(
        "state", "push", "-", "--force", stdin=document
    )
    assert dtm.run("state", "pull").stdout.count("hello") >= 1


def test_newer_format_is_not_taken_for_damage(dtm: Runner, config: Write) -> None:
    config(ONE)
    dtm("apply", "-y")
    document, path = dtm.run("state", "pull").stdout, dtm.folder / "devstream.state"
    newer = document.replace('"format": 1', '"format": 7')
    path.write_text(newer, "utf-8")
    assert "state format 7" in dtm("state", "push", "-", "--force", code=1, stdin=document)
    assert path.read_text("utf-8") == newer


def test_entry_moves_only_within_its_plugin(dtm: Runner, config: Write) -> None:
    config("tools: [{name: file, instanceID: f, options: {path: out.txt, content: x}}]")
    dtm("apply", "-y")
    output = dtm("state", "mv", "file.f", "data.g", code=1)
    assert (
        "cannot move file/f to data/g: plugin data cannot manage a resource of plugin file"
        in output
        and "dtm state mv file.f file.g" in output
    )
    assert "dtm state" not in dtm("state", "mv", "file.f", "data.f", code=1)
    assert "dtm state rm" not in dtm("state", "mv", "file.f", "file.f", code=1)
    assert "there is no plugin nosuch" in dtm("state", "mv", "file.f", "nosuch.f", code=1)
    dtm("state", "mv", "file.f", "file.g")
    dtm("destroy", "-y")
    assert not (dtm.folder / "out.txt").exists()


def test_state_of_another_project_is_ignored(dtm: Runner, config: Write) -> None:
    config(ONE)
    dtm("apply", "-y")
    other = dtm.folder.with_name("other")
    other.mkdir()
    (other / "config.yaml").write_text(ONE, "utf-8")
    assert "Plan: 1 to create" in dtm("plan", "-f", "../other/config.yaml")
    legacy = dtm.run("state", "pull", "-o", "devstream").stdout
    (dtm.folder / "devstream.state.log").unlink()
    (dtm.folder / "devstream.state").write_text(legacy, "utf-8")
    assert "holds 1 tool" in dtm("plan", "-f", "../other/config.yaml", code=1)


def test_result_that_does_not_apply_is_a_warning(dtm: Runner, config: Write) -> None:
    config(ONE)
    dtm("apply", "-y")
    lineage = json.loads(dtm.run("state", "pull").stdout)["lineage"]
    rescued = RescueFile(1, lineage, "s", "where", "then", [Done(2, "data_a", 1)])
    (dtm.folder / "errored.dtm").write_bytes(encode(rescued))
    for words in ((), ("--dry-run",)):
        output = dtm("state", "recover", "errored.dtm", *words)
        assert (
            "[WARN" in output
            and "not recovered: data/a: the state has an outcome already" in output
            and "SUCCESS" not in output
        )


def test_recover_reports_that_nothing_is_missing(dtm: Runner, config: Write) -> None:
    config(ONE)
    dtm("apply", "-y")
    lineage = json.loads(dtm.run("state", "pull").stdout)["lineage"]
    (dtm.folder / "errored.dtm").write_bytes(
        encode(RescueFile(1, lineage, "s", "where", "then", [Cancelled(2, "data_a", 1)]))
    )
    output = dtm("state", "recover", "errored.dtm")
    assert (
        "nothing to recover: the state lacks no result that errored.dtm holds" in output
        and "WARN" not in output
    )
