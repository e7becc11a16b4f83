"""Which commands refuse tools that are one thing, and tools where dtm keeps its own files."""

import pytest

from tests.e2e.conftest import Runner, Write

TOOL = "- {name: file, instanceID: %s, options: {path: %s, content: x}}\n"


@pytest.mark.parametrize("command", ["validate", "plan", "apply -y"])
def test_two_tools_that_are_one_thing_are_refused(dtm: Runner, config: Write, command: str) -> None:
    config("tools:\n" + TOOL % ("a", "out") + TOOL % ("b", "out"))
    told = dtm(*command.split(), code=1)
    assert "config.yaml:3:3: file/b is the same thing (file:out) as file/a at config.yaml:2:3" in told
    assert not (dtm.folder / "out").exists()


def test_the_state_is_not_overwritten_by_a_tool(dtm: Runner, config: Write) -> None:
    config("tools:\n" + TOOL % ("a", "devstream.state"))
    told = dtm("apply", "-y", code=1)
    assert "config.yaml:2:3: file/a would be where dtm keeps its own files (file:devstream.state)" in told
    assert [path.name for path in dtm.folder.iterdir()] == ["config.yaml"]
