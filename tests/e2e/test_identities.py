"""Tools with one identity, or where dtm keeps its own files, are refused with their place."""

import pytest

from tests.e2e.conftest import Runner, Write

TOOL = "- {name: file, instanceID: %s, options: {path: %s, content: x}}\n"


@pytest.mark.parametrize("command", ["validate", "plan", "apply -y"])
def test_two_tools_that_are_one_thing_are_refused(dtm: Runner, config: Write, command: str) -> None:
    config("tools:\n" + TOOL % ("a", "out") + TOOL % ("b", "out"))
    told = dtm(*command.split(), code=1)
    assert (
        "config.yaml:3:3: file/b manages the same resource (file:out) as file/a at config.yaml:2:3"
        in told
    )
    assert not (dtm.folder / "out").exists()


def test_the_state_is_not_overwritten_by_a_tool(dtm: Runner, config: Write) -> None:
    config("tools:\n" + TOOL % ("a", "devstream.state"))
    told = dtm("apply", "-y", code=1)
    assert (
        "config.yaml:2:3: file/a would use a path of dtm's own files (file:devstream.state)" in told
    )
    assert [path.name for path in dtm.folder.iterdir()] == ["config.yaml"]


def test_a_problem_that_only_planning_finds_has_its_place(dtm: Runner, config: Write) -> None:
    config(
        "tools:\n- {name: data, instanceID: d, options: {input: x}}\n"
        + TOOL % ("a", "'${{ data.d.outputs.output.none }}'")
    )
    assert "config.yaml:3:3: file/a: " in dtm("plan", code=1)
