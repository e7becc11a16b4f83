"""--lock for commands that only read, and commands that need no config."""

import pytest

from tests.e2e.conftest import TWO, Runner, Write
from tests.e2e.test_commands import HELD, wait_for


def test_reading_with_lock_is_refused_while_it_is_held(dtm: Runner, config: Write) -> None:
    config(HELD)
    run = dtm.start("apply", "-y")
    wait_for(dtm.folder / "made.log")
    for command in ("plan", "verify", "drift"):
        assert "dtm force-unlock" in dtm(command, "--lock", code=3), command
    (dtm.folder / "go").touch()
    assert run.wait(30) == 0
    for command in ("plan", "verify", "drift"):
        dtm(command, "--lock")


@pytest.mark.parametrize("words", [["state", "list"], ["output"], ["lock"], ["state", "history"]])
def test_override_of_the_configured_state_is_a_warning(
    dtm: Runner, config: Write, words: list[str]
) -> None:
    config(TWO)
    dtm("apply", "-y")
    config("state: {backend: local, options: {stateFile: other.state}}\n" + TWO)
    assert "overrides the state that the config names" in dtm(
        *words, env={"DTM_STATE": "devstream.state"}
    )


def test_broken_config_does_not_block_a_named_state(dtm: Runner, config: Write) -> None:
    config(TWO)
    dtm("apply", "-y")
    config("tools: [")
    assert "data/a" in dtm("state", "list", "--state", "devstream.state")
    dtm("destroy", "-y", "--state", "devstream.state")
