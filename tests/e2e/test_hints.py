"""What a refusal tells to run next works as it stands, from where it was told."""

import json
import re
import shlex

import pytest

from tests.e2e.conftest import Runner, Write

ONE = "tools:\n- {name: file, instanceID: a, options: {path: out.txt, content: x}}\n"


def next_step(text: str) -> list[str]:
    (command,) = re.findall(r"→ dtm (.+)$", text, re.MULTILINE)
    return shlex.split(command)


@pytest.mark.parametrize(
    "words", [("--state", "far/s.state"), ("-f", "far/config.yaml"), ("--chdir", "far"), ()]
)
def test_a_copy_made_elsewhere_is_named_with_the_way_to_it(
    words: tuple[str, ...], dtm: Runner, config: Write
) -> None:
    config(ONE)
    (dtm.folder / "far").mkdir()
    (dtm.folder / "far" / "config.yaml").write_text(ONE, "utf-8")
    dtm("apply", "-y", *words)
    refused = dtm("state", "show", "nothing.at-all", *words, code=1)
    assert refused.count("dtm state list") == 1
    told = next_step(refused.replace(" shows what is", ""))
    assert told == ["state", "list", *words]
    assert json.loads(dtm.run(*told, "--json").stdout.splitlines()[1])["data"]["tool"] == "file/a"


def test_the_state_of_the_environment_is_named_too(dtm: Runner, config: Write) -> None:
    config(ONE)
    env = {"DTM_STATE": "far.state"}
    dtm("apply", "-y", env=env)
    assert "dtm state list --state far.state shows what is" in dtm(
        "state", "show", "nothing.at-all", env=env, code=1
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("helm-installer", "is not part of this version"), ("no-such", "illegal plugin name")],
)
def test_a_sample_of_a_plugin_that_is_not_there(name: str, sentence: str, dtm: Runner) -> None:
    assert sentence in dtm("show", "config", "-p", name, code=1)
