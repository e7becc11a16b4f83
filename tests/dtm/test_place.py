"""What decides where the state is, and what is refused there."""

from pathlib import Path

import pytest

from dtm.app import place
from engine.config import LockSettings, StateSettings
from engine.errors import UsageError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (StateSettings("s3", {"bucket": "b"}), "state backend s3 is not part of this version"),
        (StateSettings("local", {}, log="inline"), "state.log: inline is not part of this version"),
        (StateSettings("local", {}, LockSettings("dynamodb")), "state.lock.kind: dynamodb means nothing for a local state"),
        (StateSettings("local", {}, LockSettings(url="dynamodb://t/x")), "state.lock.url means nothing for a local state"),
        (StateSettings("local", {"stateFle": "x"}), 'a local state has no option "stateFle"'),
    ],
)
def test_settings_that_would_do_nothing_are_refused(settings: StateSettings, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        place.open_place(settings, tmp_path)


def test_the_flag_wins_then_the_environment_then_a_settings_file_then_the_default(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".dtm.yaml").write_text("state: file:///from/settings.state\n", "utf-8")
    env = {"HOME": str(home), "DTM_STATE": "env.state"}

    def chosen(flag: str, env: dict[str, str]) -> str:
        return str(place.choose(flag, env, None, tmp_path)[0].options["stateFile"])

    assert chosen("flag.state", env) == str(tmp_path / "flag.state")
    assert chosen("", env) == str(tmp_path / "env.state")
    assert chosen("", {**env, "DTM_STATE": ""}) == "/from/settings.state"
    assert chosen("", {}) == str(tmp_path / "devstream.state")


def test_memory_states_are_for_the_python_api(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only for tests and the Python API"):
        place.from_url("memfs://x", tmp_path)
