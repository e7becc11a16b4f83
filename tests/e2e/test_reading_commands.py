"""Commands that only read: they warn of the condition of the state and block no run."""

import pytest

from tests.e2e.conftest import TWO, Runner, Write
from tests.e2e.test_commands import HELD, wait_for

DRY = [
    ("state", "rm", "data.b", "--dry-run"),
    ("state", "mv", "data.b", "data.c", "--dry-run"),
    ("state", "push", "pushed.json", "--force", "--dry-run"),
    ("state", "rollback", "1", "--dry-run"),
]


def test_dry_run_takes_no_lock_and_writes_nothing(dtm: Runner, config: Write) -> None:
    config(TWO)
    dtm("apply", "-y")
    (dtm.folder / "pushed.json").write_text(dtm.run("state", "pull").stdout, "utf-8")
    config(HELD.rstrip() + TWO.removeprefix("\ntools:"))
    run = dtm.start("apply", "-y")
    wait_for(dtm.folder / "made.log")
    dtm("lock", code=3)
    before = {
        path: path.read_bytes() for path in dtm.folder.glob("devstream.state*") if path.is_file()
    }
    for words in DRY:
        assert "Would " in dtm(*words)
    assert {path: path.read_bytes() for path in before} == before
    dtm("state", "rm", "data.b", code=3)
    (dtm.folder / "go").touch()
    assert run.wait(30) == 0


@pytest.mark.parametrize(
    "words",
    [
        ("state", "list"),
        ("state", "show", "data.a"),
        ("state", "pull"),
        ("output",),
        ("state", "history"),
    ],
)
def test_reading_a_copy_warns_on_stderr(words: tuple[str, ...], dtm: Runner, config: Write) -> None:
    config(TWO)
    dtm("apply", "-y")
    copy = dtm.folder / "copy.state"
    copy.write_bytes((dtm.folder / "devstream.state").read_bytes())
    done = dtm.run(*words, "--state", "copy.state")
    assert done.returncode == 0
    assert (
        "this state is a copy of file://" in done.stderr
        and "this state is a copy" not in done.stdout
    )


def test_reading_a_replaced_state_warns(dtm: Runner, config: Write) -> None:
    config(TWO)
    dtm("apply", "-y")
    older = (dtm.folder / "devstream.state").read_bytes()
    config(TWO.replace("hello", "goodbye"))
    dtm("apply", "-y")
    (dtm.folder / "devstream.state").write_bytes(older)
    for words in (("state", "list"), ("state", "show", "data.a"), ("plan",)):
        assert "was replaced by other means" in dtm.run(*words).stderr


def test_empty_results_have_a_message(dtm: Runner, config: Write) -> None:
    assert "devstream.state does not exist yet." in dtm("state", "list")
    config("tools: [{name: data, instanceID: a, options: {input: 1}}]")
    dtm("apply", "-y")
    assert "There are no outputs." in dtm("output")
    dtm("destroy", "-y")
    assert "devstream.state is empty." in dtm("state", "list")
