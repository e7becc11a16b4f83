"""Lines of --json match the published schema, also for wrong arguments."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.e2e.conftest import Runner, Write

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs/reference/events.schema.json").read_text("utf-8")
)
ONE = "tools:\n- {name: file, instanceID: a, options: {path: out.txt, content: x}}\n"


def lines(dtm: Runner, *words: str, code: int = 0) -> list[dict[str, Any]]:
    done = dtm.run(*words, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for line in found:
        Draft202012Validator(SCHEMA).validate(line)
    assert found[0]["type"] == "version"
    return found


def data(found: list[dict[str, Any]]) -> list[Any]:
    return [line["data"] for line in found if line["type"] == "data"]


def test_no_difference_is_an_empty_list(dtm: Runner, config: Write) -> None:
    config(ONE)
    dtm("apply", "-y")
    assert data(lines(dtm, "state", "diff", "1")) == [[]]
    assert dtm("state", "diff", "1") == "No differences.\n"


def test_version_is_a_stream_of_one_line(dtm: Runner) -> None:
    (line,) = lines(dtm, "version")
    assert line["dtm"] == dtm("version").strip()


@pytest.mark.parametrize(
    "words",
    [("graph",), ("graph", "-o", "mermaid"), ("show", "config"), ("show", "config", "-p", "file")],
)
def test_text_is_one_data_line(words: tuple[str, ...], dtm: Runner, config: Write) -> None:
    config(ONE)
    assert data(lines(dtm, *words)) == [dtm(*words)]


def test_schema_is_data_and_equals_the_text(dtm: Runner) -> None:
    assert data(lines(dtm, "show", "schema")) == [json.loads(dtm("show", "schema"))]


@pytest.mark.parametrize(
    ("words", "summary", "hint"),
    [
        (("plan", "--nope"), "No such option", "dtm plan --help"),
        (("state", "show"), "Missing argument", "dtm state show --help"),
        (("aply",), 'Did you mean "apply"?', "dtm --help"),
    ],
)
def test_wrong_arguments_are_a_diagnostic(
    words: tuple[str, ...], summary: str, hint: str, dtm: Runner
) -> None:
    line = lines(dtm, *words, code=1)[-1]
    assert (line["type"], line["severity"], line["hint"]) == ("diagnostic", "error", hint)
    assert summary in line["summary"]


def test_each_check_of_a_plugin_is_a_row(dtm: Runner) -> None:
    rows = data(lines(dtm, "develop", "validate-plugin", "data"))
    assert {row["plugin"] for row in rows} == {"data"} and {row["result"] for row in rows} <= {
        "passed",
        "skipped",
    }


def test_skipped_check_is_not_reported_as_passed(dtm: Runner) -> None:
    distribution = dtm.folder / "dtm_plugin_mine-0.1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: dtm-plugin-mine\nVersion: 0.1.0\n", "utf-8"
    )
    (distribution / "entry_points.txt").write_text(
        "[dtm.providers]\nmine = providers.file:FileProvider\n", "utf-8"
    )
    path = f"{Path(__file__).parents[2]}{os.pathsep}{dtm.folder}"
    said = dtm("develop", "validate-plugin", "mine", env={"PYTHONPATH": path})
    passed, skipped = (
        sum(line.startswith(mark) for line in said.splitlines()) for mark in ("✔ ", "- ")
    )
    assert skipped
    assert f"Plugin <mine> passed validation: {passed} checks passed, {skipped} skipped.\n" in said
