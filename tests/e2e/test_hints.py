"""A command in a hint can be pasted into the shell where the error was printed."""

import json
import re
import shlex

import pytest

from tests.e2e.conftest import Runner, Write

ONE = "tools:\n- {name: file, instanceID: a, options: {path: out.txt, content: x}}\n"


def hinted_command(text: str) -> list[str]:
    (command,) = re.findall(r"→ .*?\bdtm (.+)$", text, re.MULTILINE)
    return shlex.split(command)


@pytest.mark.parametrize(
    "words", [("--state", "far/s.state"), ("-f", "far/config.yaml"), ("--chdir", "far"), ()]
)
def test_hinted_command_repeats_location_flags(
    words: tuple[str, ...], dtm: Runner, config: Write
) -> None:
    config(ONE)
    (dtm.folder / "far").mkdir()
    (dtm.folder / "far" / "config.yaml").write_text(ONE, "utf-8")
    dtm("apply", "-y", *words)
    refused = dtm("state", "show", "nothing.at-all", *words, code=1)
    assert refused.count("dtm state list") == 1
    hinted = hinted_command(refused)
    assert hinted == ["state", "list", *words]
    assert json.loads(dtm.run(*hinted, "--json").stdout.splitlines()[1])["data"]["tool"] == "file/a"


def test_hinted_command_names_state_of_environment(dtm: Runner, config: Write) -> None:
    config(ONE)
    env = {"DTM_STATE": "far.state"}
    dtm("apply", "-y", env=env)
    assert "list its tools with dtm state list --state far.state" in dtm(
        "state", "show", "nothing.at-all", env=env, code=1
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("helm-installer", "is not part of this version"), ("no-such", "illegal plugin name")],
)
def test_sample_of_unknown_plugin_is_refused(name: str, sentence: str, dtm: Runner) -> None:
    assert sentence in dtm("show", "config", "-p", name, code=1)
