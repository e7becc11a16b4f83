"""Mending a state from the outside: what is refused, what is kept, and what a person is told to do next."""

import json

import pytest

from tests.e2e.conftest import Runner, Write

ONE = """
tools:
- {name: data, instanceID: a, options: {input: hello}}
"""


def serials(dtm: Runner) -> list[int]:
    rows = [json.loads(row) for row in dtm.run("state", "history", "--json").stdout.splitlines()]
    return [row["serial"] for row in rows if "serial" in row]


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("document", ["", "{}", " \n", "# only a comment\n"])
def test_a_document_without_a_state_in_it_is_never_pushed(dtm: Runner, config: Write, document: str, force: list[str]) -> None:
    config(ONE)
    dtm("apply", "-y")
    assert "there is no state in the pushed document" in dtm("state", "push", "-", *force, code=1, stdin=document)
    assert "data/a" in dtm("state", "list")


def test_a_state_without_a_lineage_does_not_win_over_one_that_has_one(dtm: Runner, config: Write) -> None:
    config(ONE)
    dtm("apply", "-y")
    document = json.loads(dtm.run("state", "pull").stdout) | {"lineage": "", "serial": 9}
    assert "has no lineage" in dtm("state", "push", "-", code=1, stdin=json.dumps(document))
    told = dtm("state", "push", "-", "--force", "--dry-run", stdin=json.dumps(document))
    assert "Would push serial 9" in told and "Overridden: the one pushed has no lineage" in told


def test_a_copied_project_becomes_its_own_by_adopting_the_state_that_stands_there(dtm: Runner, config: Write) -> None:
    config(ONE)
    dtm("apply", "-y")
    moved = dtm.folder.rename(dtm.folder.with_name("moved"))
    dtm.folder = moved
    assert "is a copy" in dtm("destroy", "-y", code=1)
    assert "--adopt makes this place its home" in dtm("state", "push", "devstream.state", code=1)
    assert "Pushed serial 1" in dtm("state", "push", "--adopt", "devstream.state")
    assert "Nothing to do" in dtm("state", "push", "--adopt", "devstream.state")
    dtm("destroy", "-y")
    assert "data/a" not in dtm("state", "list")


def test_an_entry_moves_only_within_its_plugin(dtm: Runner, config: Write) -> None:
    config("tools: [{name: file, instanceID: f, options: {path: out.txt, content: x}}]")
    dtm("apply", "-y")
    told = dtm("state", "mv", "file.f", "data.f", code=1)
    assert "data/f belongs to plugin data, file/f to plugin file" in told and "dtm state mv file.f file.f" in told
    assert "there is no plugin nosuch" in dtm("state", "mv", "file.f", "nosuch.f", code=1)
    dtm("state", "mv", "file.f", "file.g")
    dtm("destroy", "-y")
    assert not (dtm.folder / "out.txt").exists()
