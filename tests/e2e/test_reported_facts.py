"""Reports about failures, inputs and drift are true."""

import json
from typing import Any

from dtm.trials.repositories import push
from tests.e2e.conftest import Runner, Write

FAILING = """
tools:
- name: command
  instanceID: a
  options:
    create: "echo no luck >&2; exit 7"
    read: cat a.json 2> /dev/null || true
- name: command
  instanceID: b
  timeouts: {create: 0.3s}
  options:
    create: sleep 30
    read: cat b.json 2> /dev/null || true
"""


def changes(dtm: Runner, *words: str, code: int = 0) -> dict[str, Any]:
    lines = [json.loads(line) for line in dtm(*words, "--json", code=code).splitlines()]
    return {line["address"]: line for line in lines if line["type"] == "planned_change"}


def test_failure_and_timeout_are_not_called_interrupted(dtm: Runner, config: Write) -> None:
    config(FAILING)
    dtm("apply", "-y", code=1)
    output = dtm("plan")
    assert "command/a  will be created: the last attempt failed" in output
    assert "its creation failed: create ended with exit code 7:\n        no luck\n" in output
    assert "command/b  will be created: the last attempt failed" in output
    assert "its creation failed: create was stopped because its timeout expired" in output
    found = changes(dtm, "plan")
    assert {line["reason"] for line in found.values()} == {"failed"}
    assert (
        found["command/a"]["note"] == "its creation failed: create ended with exit code 7:\nno luck"
    )
    assert "command/b  will be removed from the state" in dtm("plan", "--destroy")


CHAIN = """
tools:
- name: repo-scaffolding
  instanceID: app
  options:
    destinationRepo: {owner: me, name: app, scmType: local%(visibility)s}
    sourceRepo: {url: golang-cli}
    vars: {imageRepo: me/app}
- name: github-actions
  instanceID: ci
  dependsOn: [repo-scaffolding.app]
  options:
    scm: {scmType: local, owner: me, name: app}
    pipeline: {language: {name: go}, test: {enable: true}%(image)s}
- name: file
  instanceID: copy
  options: {path: out.txt, source: in.txt}
- name: command
  instanceID: thing
  options:
    create: touch made
    read: "test ! -e made || echo '%(printed)s'"
"""
OLD = {"visibility": "", "image": "", "printed": '{\\"a\\": 1}'}
NEW = {
    "visibility": ", visibility: private",
    "image": ", imageRepo: {user: me, password: hush}",
    "printed": '{\\"b\\": 1}',
}


def seen(found: dict[str, Any]) -> dict[str, set[tuple[str, str]]]:
    return {
        address: {(each["source"], each["path"][0]) for each in line["fields"]}
        for address, line in found.items()
    }


def test_changed_inputs_are_not_called_drift(dtm: Runner, config: Write) -> None:
    config(CHAIN % OLD)
    (dtm.folder / "in.txt").write_text("one\n", "utf-8")
    dtm("apply", "-y")
    assert "nothing to do" in dtm("plan")
    config(CHAIN % NEW)
    (dtm.folder / "in.txt").write_text("two\n", "utf-8")
    expected = {
        "repo-scaffolding/app": {("option", "destinationRepo")},
        "github-actions/ci": {("option", "pipeline")},
        "file/copy": {("input", "source")},
        "command/thing": {("option", "read")},
    }
    found = changes(dtm, "plan")
    assert seen(found) == expected
    assert found["file/copy"]["reason"] == "input"
    output = dtm("plan")
    assert "changed outside dtm" not in output
    assert "file/copy  will be updated: its inputs changed" in output
    assert "changed inputs (recorded → now):\n        ~ source:" in output
    (dtm.folder / "out.txt").chmod(0o600)
    repository = dtm.folder / "repos" / "me" / "app.git"
    push(repository, {".github/workflows/main.yml": "on: push\n"})
    expected["file/copy"].add(("live", "mode"))
    expected["github-actions/ci"].add(("live", "files"))
    assert seen(changes(dtm, "plan")) == expected
    assert seen(changes(dtm, "drift", code=2)) == {
        "github-actions/ci": {("live", "files")},
        "file/copy": {("live", "mode")},
    }


def test_missing_source_is_reported_before_any_change(dtm: Runner, config: Write) -> None:
    config("""
tools:
- {name: file, instanceID: f, options: {path: out.txt, source: absent.txt}}
- {name: command, instanceID: c, options: {create: touch made, cwd: nowhere}}
- name: repo-scaffolding
  instanceID: r
  options: {destinationRepo: {url: ./r.git, owner: me}, sourceRepo: ./template}
- {name: data, instanceID: d, options: {input: 1}}
""")
    output = dtm("plan")
    assert (
        f"file/f: Apply will refuse this plan: source: {dtm.folder}/absent.txt does not exist"
        in output
    )
    output = dtm("apply", "-y", code=1)
    assert f"file/f: source: {dtm.folder}/absent.txt does not exist" in output
    assert f"command/c: cwd: {dtm.folder}/nowhere does not exist" in output
    assert f"repo-scaffolding/r: sourceRepo: {dtm.folder}/template does not exist" in output
    assert [path.name for path in dtm.folder.iterdir() if not path.name.startswith(".")] == [
        "config.yaml"
    ]


def test_source_may_be_created_by_a_dependency(dtm: Runner, config: Write) -> None:
    config("""
tools:
- {name: directory, instanceID: work, options: {path: work}}
- name: command
  instanceID: c
  dependsOn: [directory.work]
  options: {create: echo x > made, cwd: work}
- {name: file, instanceID: f, dependsOn: [command.c], options: {path: out.txt, source: work/made}}
""")
    dtm("apply", "-y")
    assert (dtm.folder / "out.txt").read_text("utf-8") == "x\n"


OTHERS = """
argocd_default:
  name: argocd
  instanceID: default
  dependsOn: []
  options: {namespace: argocd}
  resourceStatus: {}
"""
TWO = """
tools:
- {name: file, instanceID: a, options: {path: a.txt, content: a}}
- name: command
  instanceID: b
  options:
    create: touch b
    read: "test ! -e broken || exit 1; test ! -e b || echo '{}'"
"""


def test_unshipped_recorded_plugin_is_reported_once(dtm: Runner, config: Write) -> None:
    (dtm.folder / "devstream.state").write_text(OTHERS, "utf-8")
    config("tools:\n- {name: data, instanceID: d, options: {input: 1}}\n")
    message = "argocd/default: plugin argocd is known from DevStream, but not part of this version"
    hint = "run dtm state rm argocd.default to make dtm forget the tool"
    for words in (["plan"], ["apply", "-y"], ["drift"], ["destroy", "-y"], ["verify", "--strict"]):
        output = dtm(*words, code=1)
        assert (output.count(message), output.count(hint)) == (1, 1)
    dtm("state", "rm", "argocd.default")
    assert "1 to create" in dtm("apply", "-y")


def test_drift_reports_the_rest_if_one_read_fails(dtm: Runner, config: Write) -> None:
    config(TWO)
    dtm("apply", "-y")
    (dtm.folder / "broken").touch()
    output = dtm("drift", code=1)
    assert "Nothing changed outside dtm among the tools that could be read." in output
    (dtm.folder / "a.txt").write_text("changed", "utf-8")
    output = dtm("drift", code=1)
    assert "file/a  changed outside dtm" in output
    assert "command/b: read ended with exit code 1" in output


def test_unfinished_tool_is_not_drift(dtm: Runner, config: Write) -> None:
    config(FAILING)
    dtm("apply", "-y", code=1)
    output = dtm("drift")
    assert "command/a: its creation failed: create ended with exit code 7" in output
    assert "Nothing changed outside dtm." in output
    assert "Unfinished: |\n    its creation failed: create ended" in dtm("show", "status")


def test_resolve_of_a_finished_tool_is_refused(dtm: Runner, config: Write) -> None:
    config(FAILING)
    dtm("apply", "-y", code=1)
    output = dtm("apply", "-y", "--resolve", "command.c=retry", code=1)
    assert "--resolve command.c: command/c is not in the state" in output
    assert "name one of the unfinished tools: command/a, command/b" in output
    assert "command/c is not in the state" in dtm(
        "destroy", "-y", "--resolve", "command.c=forget", code=1
    )
    dtm("destroy", "-y")
    config("tools:\n- {name: data, instanceID: d, options: {input: 1}}\n")
    dtm("apply", "-y")
    output = dtm("apply", "-y", "--resolve", "data.d=retry", code=1)
    assert (
        "--resolve data.d: data/d has no unfinished operation" in output
        and "no tool in this state has an unfinished operation" in output
    )


def test_state_pull_as_json_lines(dtm: Runner, config: Write) -> None:
    config("tools:\n- {name: data, instanceID: d, options: {input: 1}}\n")
    dtm("apply", "-y")
    state = json.loads(dtm("state", "pull"))
    assert [json.loads(line) for line in dtm("state", "pull", "--json").splitlines()][1][
        "data"
    ] == state
    text = dtm("state", "pull", "-o", "yaml")
    assert [json.loads(line) for line in dtm("state", "pull", "-o", "yaml", "--json").splitlines()][
        1
    ]["data"] == text


def test_verify_without_a_config_fails_only_with_strict(dtm: Runner) -> None:
    output = dtm("verify")
    assert (
        "there is no config file config.yaml" in output
        and "verify failed, error: there is no valid config." in output
    )
    dtm("verify", "--strict", code=1)
    dtm("plan", code=1)


def test_destroy_without_a_state_has_nothing_to_do(dtm: Runner, config: Write) -> None:
    assert "No tools have been deployed now" in dtm("destroy", "-y")
    assert "No tools have been deployed now" in dtm("plan", "--destroy")
