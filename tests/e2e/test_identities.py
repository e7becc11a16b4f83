"""Tools with the same identity, or with a path of dtm's own files, are refused with their line."""

import pytest

from tests.e2e.conftest import Runner, Write

TOOL = "- {name: file, instanceID: %s, options: {path: %s, content: x}}\n"


@pytest.mark.parametrize("command", ["validate", "plan", "apply -y"])
def test_two_tools_with_one_identity_are_refused(dtm: Runner, config: Write, command: str) -> None:
    config("tools:\n" + TOOL % ("a", "out") + TOOL % ("b", "out"))
    output = dtm(*command.split(), code=1)
    assert (
        "config.yaml:3:3: file/b manages the same resource (file:out) as file/a at config.yaml:2:3"
        in output
    )
    assert not (dtm.folder / "out").exists()


def test_tool_cannot_overwrite_the_state(dtm: Runner, config: Write) -> None:
    config("tools:\n" + TOOL % ("a", "devstream.state"))
    output = dtm("apply", "-y", code=1)
    assert (
        "config.yaml:2:3: file/a would use a path of dtm's own files (file:devstream.state)"
        in output
    )
    assert [path.name for path in dtm.folder.iterdir()] == ["config.yaml"]


def test_planning_problem_has_its_line(dtm: Runner, config: Write) -> None:
    config(
        "tools:\n- {name: data, instanceID: d, options: {input: x}}\n"
        + TOOL % ("a", "'${{ data.d.outputs.output.none }}'")
    )
    assert "config.yaml:3:3: file/a: " in dtm("plan", code=1)
